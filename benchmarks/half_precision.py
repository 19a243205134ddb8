"""How far maps in half precision are from those in float32: ``python benchmarks/half_precision.py``.

Gradients by ``precision="float16"`` on the CPU, where every float16 tensor is rounded as it would be on a GPU
(``tests/support/half_rounding.py``), sums inside of an operator being float32. What is given are the cosine of the
gradients, and quantiles of the differences of the maps, which go from 0 to 1. The networks of ``nets.py`` have random
weights and see noise, which is the worst case: many activations are near zero and fall on the other side. The bundled
one is trained and sees its photo. No time is measured; that is for a GPU (``gpu.py --precision float16``).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

import common
import nets
from onnxplain import Explainer, differentiate, native
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.photos import load_image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.half_rounding import rounding_session

BUNDLED = "bundled efficientnet_lite0"
HEADER = ("network", "input", "cosine", "median", "99th percentile", "largest")


def subject(name: str, folder: Path) -> tuple[onnx.ModelProto, str, np.ndarray]:
    """The model, what it sees in words, and as an array."""
    if name == BUNDLED:
        preprocessing = Explainer().preprocessing.preprocessing
        return onnx.load(bundled_model()), "its photo", preprocessing.apply(load_image(bundled_photo()))[0][None]
    x = np.random.default_rng(0).standard_normal((4, 3, 224, 224), np.float32)
    return nets.cached(name, folder)[0], "noise", x


def row(name: str, folder: Path) -> list[str]:
    model, seen, x = subject(name, folder)
    feeds = {model.graph.input[0].name: x}
    gradients = []
    for precision in ("float32", "float16"):
        found = differentiate(model, precision=precision)
        output = next(v.name for v in found.graph.output if v.name.startswith("grad_"))
        if not gradients:
            scores = rounding_session(model).run([model.graph.output[0].name], feeds)[0]
            feeds["target"] = scores.argmax(1)
        gradients.append(rounding_session(found).run([output], feeds)[0])
    exact, half = gradients
    cosine = float((exact * half).sum() / np.linalg.norm(exact) / np.linalg.norm(half))
    apart = np.abs(native.saliency(exact) - native.saliency(half))
    return [name, seen, f"{cosine:.5f}", *(f"{np.quantile(apart, q):.4f}" for q in (0.5, 0.99, 1))]


def main() -> None:
    names = [BUNDLED, *nets.NETS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=names, choices=names)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="keeps the exported networks")
    options = parser.parse_args()
    print(common.environment("torch"))
    print(f"\n{common.table(HEADER, [row(name, options.folder) for name in options.nets])}")


if __name__ == "__main__":
    main()
