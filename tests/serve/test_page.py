"""The page of the service, at /."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import onnxplain
from onnxplain.page.runtime_files import FILES

from support.service import Service, service


def told(running: Service, text: str) -> str:
    """Wait until the service says something; returns all that it said."""
    end = time.monotonic() + 120
    while text not in running.text():
        assert running.process.poll() is None and time.monotonic() < end, running.text()
        time.sleep(0.05)
    return running.text()


def stand_ins(folder: Path) -> None:
    """Stand-ins for ONNX Runtime's files, in a new folder."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text("stands for ONNX Runtime's file")


def package_without_files(run: Path) -> Path:
    """Where a service that runs there finds the package: links to all of it but ONNX Runtime's files, if it has any.

    Returns:
        The folder in which it looks for its own files.
    """
    package = Path(onnxplain.__file__).parent
    page = run / "path" / "onnxplain" / "page"
    page.mkdir(parents=True)
    for source, place, left_out in ((package, page.parent, "page"), (package / "page", page, "runtime")):
        for path in source.iterdir():
            if path.name != left_out:
                (place / path.name).symlink_to(path)
    return page / "runtime"


@pytest.mark.parametrize("where", ["in the package", "kept"])
def test_the_page_of_the_models(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(tmp_path / "cache"))
    own, kept = package_without_files(tmp_path / "run"), tmp_path / "cache" / "onnxruntime-web"
    stand_ins(kept if where == "kept" else own)
    with service(tmp_path / "run", folder / "busy.onnx", folder / "small.onnx") as running:
        said = told(running, "onnxplain: page: http://127.0.0.1:")
        assert "onnxplain: the page is without busy: " in said
        for path in ("/", "/page/"):
            status, body, headers = running.ask(path)
            assert status == 200 and b"<title>What the model looked at</title>" in body
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-embedder-policy"] == "require-corp"
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        status, facts, _ = running.ask("/page/page.json")
        assert status == 200 and [model["name"] for model in facts["models"]] == ["small"]
        assert running.ask("/page/models/small.onnx")[0] == 200
        for path in ("/page/../keys", "/page/nowhere", "/page/models/"):
            assert running.ask(path)[:2] == (404, {"error": "not found."})
        assert running.ask("/page/", b"{}")[0] == 405
        status, _, headers = running.ask("/page/runtime/ort-wasm-simd-threaded.wasm")
        assert status == 200 and headers["content-type"] == "application/wasm"


def test_without_files_for_browsers_the_service_says_how_to_get_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(tmp_path / "cache"))
    package_without_files(tmp_path / "run")
    with service(tmp_path / "run", folder / "small.onnx", "--api-key-file", folder / "keys") as running:
        said = told(running, "onnxplain: page: ")
        assert "page: the page needs ONNX Runtime's files for browsers; run npm pack onnxruntime-web@" in said
        for path in ("/", "/page/"):
            assert running.ask(path)[0] == 401
        status, answer, _ = running.ask("/page/", headers={"x-api-key": "secret"})
        assert (status, answer) == (404, {"error": "there is no page here; the service's log says why."})


def test_a_page_that_was_written_before(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("mine")
    with service(tmp_path / "run", folder / "small.onnx", "--page", tmp_path / "page") as running:
        told(running, "onnxplain: page: http://127.0.0.1:")
        assert running.ask("/")[:2] == (200, b"mine")
