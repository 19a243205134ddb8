"""Says whether an installed onnxplain is whole: ``python smoke.py``, in a folder of one's own.

The last line is a row of a table: Python, versions, and what was tried besides the package itself.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image

import onnxplain
from onnxplain import Explainer, native
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.page import find_runtime

_PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "pillow", "click", "tqdm", "matplotlib", "pyarrow", "openvino")


def command(*words: str | Path, code: int = 0) -> None:
    """Run ``onnxplain`` as a user does; it ends with the exit code ``code``."""
    done = subprocess.run([sys.executable, "-m", "onnxplain", *map(str, words)], stdout=subprocess.DEVNULL)
    assert done.returncode == code, (words, done.returncode)


def files() -> str:
    """Check what the wheel carries; returns the compiled libraries and instruction sets."""
    package = Path(onnxplain.__file__).parent
    assert "site-packages" in package.parts, package
    libraries = sorted(path.name for path in package.iterdir() if path.suffix in (".so", ".pyd", ".dll", ".dylib"))
    assert any(name.startswith("_native") for name in libraries), libraries
    assert any("onnxplain_operators" in name for name in libraries), libraries
    assert find_runtime() == package / "page" / "runtime", find_runtime()
    return f"{', '.join(libraries)}; {', '.join(native.available_instruction_sets())}"


def picture() -> None:
    """The command and the library make the same map of the bundled photo, and it is of a cat."""
    command("explain", bundled_photo(), "-o", "picture.png")
    explainer = Explainer(cache=False)
    made = explainer.explain(bundled_photo())
    assert made.label is not None and "cat" in made.label, made.label
    assert sum(explainer.operators.fused.values()) > 0, explainer.operators
    with Image.open("picture.png") as image:
        record = json.loads(image.info["onnxplain"])
        assert image.size == (451, 300), image.size
    assert record["map"] == made.to_dict()["map"], "the command and the library made different maps"


def differentiated() -> None:
    """A differentiated model is valid ONNX, and ONNX Runtime runs it without this package."""
    command("differentiate", bundled_model(), "-o", "gradient.onnx")
    command("check", bundled_model())
    onnx.checker.check_model("gradient.onnx", full_check=True)
    session = ort.InferenceSession("gradient.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    shape = [extent if isinstance(extent, int) else 1 for extent in session.get_inputs()[0].shape]
    feeds = {name: np.random.default_rng(0).random(shape, np.float32), "target": np.zeros(1, np.int64)}
    score, gradient = session.run(["score", f"grad_{name}"], feeds)
    assert np.isfinite(score).all() and np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def extras() -> list[str]:
    """Try the extras whose packages are there; returns their names."""
    there = [extra for extra, name in (("plot", "matplotlib"), ("bulk", "pyarrow"), ("openvino", "openvino"))
             if importlib.util.find_spec(name)]  # fmt: skip
    if "plot" in there:
        command("explain", bundled_photo(), "-o", "figure.svg")
        assert "tiger cat" in Path("figure.svg").read_text(encoding="utf-8")
    if "bulk" in there:
        from onnxplain.bulk import explanations

        photos = Path("photos")
        photos.mkdir(exist_ok=True)
        shutil.copy(bundled_photo(), photos / "1.jpg")
        (photos / "2.jpg").write_bytes(b"no photo")
        shutil.rmtree("shards", ignore_errors=True)
        command("bulk", bundled_model(), photos, "-o", "shards", code=3)
        (row,) = explanations("shards")
        assert "cat" in row.label and 0.5 < row.saliency.max() <= 1, row
    if "openvino" in there:
        first, second = Explainer(runtime="openvino", cache=False), Explainer(cache=False)
        maps = [one.explain(bundled_photo(), target=281).saliency for one in (first, second)]
        assert np.abs(maps[0] - maps[1]).max() < 0.01, np.abs(maps[0] - maps[1]).max()
    return there


def main() -> None:
    """Print what was found; a failed assertion is an installation that is not whole."""
    print(f"onnxplain {onnxplain.__version__}: {files()}")
    picture()
    differentiated()
    assert "torch" not in sys.modules
    tried = extras()
    found: list[str] = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    print(f"| {platform.python_version()} | {', '.join(found)} | {', '.join(tried) or 'none'} |")


if __name__ == "__main__":
    main()
