"""The source distribution builds from itself, without a network; lowest versions are those that are declared."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from support import REPOSITORY


def python(*words: str, folder: Path) -> None:
    """Run Python there; npm, which a build asks for files of the page, finds nobody who answers."""
    offline = {**os.environ, "npm_config_registry": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, env=offline)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.packaging
def test_the_source_distribution_builds_from_itself_offline(tmp_path: Path) -> None:
    backend = "import sys, scikit_build_core.build as b; print(b.build_sdist(sys.argv[1]))"
    python("-c", backend, str(tmp_path), folder=REPOSITORY)
    (source,) = tmp_path.glob("onnxplain-*.tar.gz")
    with tarfile.open(source) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "source", filter="data")
    assert not [name for name in names if Path(name).suffix in (".so", ".pyd", ".wasm", ".tgz") or "/.git/" in name]
    (folder,) = (tmp_path / "source").iterdir()
    offline = ("--no-build-isolation", "--no-index", "--no-deps", "--quiet")
    python("-m", "pip", "wheel", *offline, "-w", str(tmp_path / "made"), ".", folder=folder)
    (wheel,) = (tmp_path / "made").glob("onnxplain-*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("onnxplain/_native") for name in inside)
    assert any(name.startswith("onnxplain/") and "onnxplain_operators" in name for name in inside)
    assert {"onnxplain/models/efficientnet_lite0/efficientnet_lite0.onnx", "onnxplain/py.typed"} <= set(inside)
    assert not [name for name in inside if name.startswith("onnxplain/page/runtime/")]
    python("-m", "pip", "install", *offline[1:], "--target", str(tmp_path / "site"), str(wheel), folder=tmp_path)
    script = (
        "import onnxplain, onnxplain.bundled as b; e = onnxplain.Explainer(cache=False)\n"
        "assert 'site' in onnxplain.__file__ and 'cat' in e.explain(b.bundled_photo()).label\n"
        "assert sum(e.operators.fused.values()) > 0"
    )
    python("-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{script}", folder=tmp_path)


def test_lowest_versions_are_read_from_what_is_declared() -> None:
    lowest = runpy.run_path(str(REPOSITORY / "packaging" / "lowest.py"))["lowest"]
    declared = ["numpy>=1.26", "onnx-ir>=0.1.13", "kserve>=0.21; python_version < '3.14' and extra == 'serve'"]
    declared += ["ray[data]>=2.40; extra == 'ray'", 'onnxruntime >= 1.21 ; extra == "cpu"']
    assert list(lowest(declared, [])) == ["numpy==1.26", "onnx-ir==0.1.13"]
    assert list(lowest(declared, ["cpu", "ray"]))[2:] == ["ray==2.40", "onnxruntime==1.21"]
    with pytest.raises(SystemExit, match="'click' states no lowest version"):
        list(lowest(["click"], []))
