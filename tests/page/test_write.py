"""The folder that a page is: what is in it, where ONNX Runtime's files come from, what is refused."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxplain.page
from engines.environments import ENGINES
from onnxplain import InputError, OutputError, PreprocessingError, RuntimeMissingError, cli
from onnxplain.page import CONTENT_POLICY, VERSION, find_runtime, write_page
from onnxplain.page.page_model import page_model
from onnxplain.page.runtime_files import FILES

from support import REPOSITORY
from support import small_models as small


def stand_ins(folder: Path) -> Path:
    """Stand-ins for ONNX Runtime's files, in a new folder."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    return stand_ins(tmp_path / "dist")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the package looks for its own files: a folder without any, whatever the installed package has."""
    place = tmp_path / "package"
    monkeypatch.setattr(onnxplain.page, "__path__", [str(tmp_path / "another"), str(place)])
    return place


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    """What npm pack makes."""
    place = folder / "onnxruntime-web.tgz"
    with tarfile.open(place, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return place


def photos_model(batch: int | str = "N") -> onnx.ModelProto:
    return small.quadratic(batch, ending="Softmax", metadata=small.image_metadata())


def test_the_folder(tmp_path: Path, runtime: Path) -> None:
    files = write_page({"small": photos_model()}, tmp_path / "page", runtime=runtime)
    names = {str(path.relative_to(tmp_path / "page")) for path in files}
    assert {"index.html", "page.js", "worker.js", "page.css", "example.jpg", "models/small.onnx"} < names
    assert {f"runtime/{name}" for name in FILES} < names
    licence = (tmp_path / "page" / "runtime" / "LICENSE.txt").read_text()
    assert "MIT License" in licence and "Copyright (c) Microsoft Corporation" in licence
    facts = json.loads((tmp_path / "page" / "page.json").read_text())
    assert facts["models"] == [{"name": "small", "bytes": (tmp_path / "page/models/small.onnx").stat().st_size}]
    assert len(facts["colours"]["inferno"]) == 256 * 6 and len(facts["smoothgrad"]["keys"]) == 200
    page = (tmp_path / "page" / "index.html").read_text()
    assert f'content="{CONTENT_POLICY}"' in page and "http" not in page.replace("http-equiv", "")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("target", [3, -1])
def test_the_model_picks_as_python_does(target: int) -> None:
    made = page_model(photos_model())
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    types = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    assert types == {"x": ("tensor(float)", [1, 3, 4, 4]), "target": ("tensor(int32)", [1])}
    assert not [node.op_type for node in made.graph.node if node.op_type in ("ArgMax", "GatherElements")]
    for x in (small.inputs(1, seed=4), np.zeros((1, 3, 4, 4), np.float32)):
        scores = small.quadratic_scores(x)
        chosen = target if target >= 0 else int(scores.argmax())
        gradient, score = session.run(["grad_x", "score"], {"x": x, "target": np.array([target], np.int32)})
        np.testing.assert_allclose(gradient, small.quadratic_gradient(x, [chosen]), rtol=1e-5)
        np.testing.assert_allclose(score, scores[:, chosen], rtol=1e-5)


def test_the_first_of_equal_classes_is_picked() -> None:
    """As everywhere in onnxplain."""
    model = photos_model()
    weight = np.repeat(small.WEIGHT[:, :1], 5, axis=1)
    weight[:, 0] -= 100
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "W"))
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.zeros(5, np.float32), "b"))
    session = onnxruntime.InferenceSession(page_model(model).SerializeToString(), providers=["CPUExecutionProvider"])
    x = small.inputs(1)
    gradient, scores = session.run(["grad_x", "class_scores"], {"x": x, "target": np.array([-1], np.int32)})
    assert (scores[0, 1:] == scores[0, 1]).all() and scores[0].argmax() == 1
    np.testing.assert_allclose(gradient, 2 * x * weight[:, 1].reshape(x.shape), rtol=1e-5)


def test_files_are_looked_for_in_an_order(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stated folder, the package's own, the kept one, that of npm; a folder that lacks a file does not count."""
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    stated, npm = stand_ins(tmp_path / "stated"), stand_ins(tmp_path / "node_modules" / "onnxruntime-web" / "dist")
    assert find_runtime().resolve() == npm
    kept = stand_ins(tmp_path / "cache" / "onnxruntime-web")
    assert find_runtime() == kept
    own = stand_ins(package / "runtime")
    assert find_runtime() == own and find_runtime(stated) == stated
    (own / FILES[-1]).unlink()
    assert find_runtime() == kept


def test_one_release_is_named_everywhere() -> None:
    release = json.loads((REPOSITORY / "src/onnxplain/page/runtime_files.json").read_text(encoding="utf-8"))
    assert release["version"] == VERSION and tuple(release["files"]) == FILES
    assert re.fullmatch(r"[0-9a-f]{128}", release["sha512"])
    assert ENGINES["onnxruntime-web"].packages == (f"onnxruntime-web@{VERSION}",)
    for name in ("page.md", "packaging.md"):
        page = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
        assert set(re.findall(r"onnxruntime-web[@-](\d[\d.]*\d)", page)) == {VERSION}


def test_an_archive_is_kept(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeMissingError, match=r"run npm pack onnxruntime-web@\S+, and once onnxplain page"):
        find_runtime()
    made = archive(tmp_path, {f"package/dist/{name}": name.encode() for name in FILES} | {"package/other": b"?"})
    for _ in range(2):
        assert find_runtime(made) == find_runtime() == tmp_path / "cache" / "onnxruntime-web"
        assert {path.name for path in find_runtime().iterdir()} == set(FILES)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["onnxruntime-web"]


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.tgz").write_text("no archive")
    for stated, complaint in (
        (tmp_path / "text.tgz", "is no archive of the npm package"),
        (archive(tmp_path, {"package/dist/ort.wasm.min.mjs": b""}), "lacks ort-wasm-simd-threaded.mjs"),
        (tmp_path / "nowhere", "lacks ort.wasm.min.mjs"),
    ):
        with pytest.raises(InputError, match=complaint):
            find_runtime(stated)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("ONNXPLAIN_CACHE", "off")
    with pytest.raises(OutputError, match="there is no cache to keep the files in"):
        find_runtime(archive(tmp_path, {f"package/dist/{name}": b"" for name in FILES}))


def test_what_is_refused(tmp_path: Path, runtime: Path) -> None:
    for models, kind, complaint in (
        ({"a/b": photos_model()}, InputError, "'a/b' is no name of a model"),
        ({"two": photos_model(2)}, InputError, "the batch is fixed at 2"),
        ({"bare": small.quadratic()}, PreprocessingError, "preprocessing"),
    ):
        with pytest.raises(kind, match=complaint):
            write_page(models, tmp_path / "page", runtime=runtime)
        assert [path.name for path in tmp_path.iterdir()] == ["dist"]
    skipped: list[str] = []
    both = {"bare": small.quadratic(), "small": photos_model()}
    write_page(both, tmp_path / "page", runtime=runtime, skip=lambda name, error: skipped.append(name))
    assert skipped == ["bare"] and [p.name for p in (tmp_path / "page" / "models").iterdir()] == ["small.onnx"]
    with pytest.raises(OutputError, match="page exists; remove it"):
        write_page({"small": photos_model()}, tmp_path / "page", runtime=runtime)


def test_the_command(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(photos_model(), tmp_path / "mine.onnx")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["onnxplain", "page", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    assert run("mine.onnx", "-o", "page", "--runtime-files", str(runtime)) == (0, "page\n", "")
    assert (tmp_path / "page" / "models" / "mine.onnx").is_file()
    assert run("mine.onnx") == (1, "", "onnxplain: error: name the folder to write with -o DIR.\n")
    code, out, error = run("mine.onnx", "-o", "page", "--runtime-files", str(runtime))
    assert (code, out) == (1, "") and error.startswith("onnxplain: error: page exists; remove it")


def test_a_model_with_weights_outside_becomes_one_file(tmp_path: Path, runtime: Path) -> None:
    onnx.save(photos_model(), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.data")
    write_page({"m": tmp_path / "m.onnx"}, tmp_path / "page", runtime=runtime)
    found = onnx.load(tmp_path / "page" / "models" / "m.onnx", load_external_data=False)
    assert not any(tensor.data_location for tensor in found.graph.initializer)
