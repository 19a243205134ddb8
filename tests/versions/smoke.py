"""What a user does first, with nothing but the package: run with the Python in question, in a folder of one's own."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

import onnxplain
from onnxplain.bundled import bundled_model, bundled_photo


def main() -> None:
    explainer = onnxplain.Explainer(threads=1)
    found = explainer.explain(bundled_photo())
    assert "cat" in found.label, found.label
    assert np.isfinite(found.saliency).all() and found.saliency.max() == 1

    differentiated = onnxplain.differentiate(bundled_model())
    onnx.checker.check_model(differentiated)
    session = ort.InferenceSession(differentiated.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = [1 if not isinstance(extent, int) else extent for extent in session.get_inputs()[0].shape]
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    feeds = {session.get_inputs()[0].name: x, "target": np.zeros(1, np.int64)}
    score, gradient = session.run(["score", f"grad_{session.get_inputs()[0].name}"], feeds)
    assert np.isfinite(score).all() and np.abs(gradient).max() > 0

    for arguments in (["explain", str(bundled_photo()), "-o", "map.png"], ["check", str(bundled_model())]):
        subprocess.run([sys.executable, "-m", "onnxplain", *arguments], check=True, stdout=subprocess.DEVNULL)
    assert Path("map.png").stat().st_size > 1000
    names = ("numpy", "onnx", "onnx-ir", "onnxruntime", "pillow", "typer", "rich")
    print(f"Python {platform.python_version()}: {', '.join(f'{name} {version(name)}' for name in names)}: good")


main()
