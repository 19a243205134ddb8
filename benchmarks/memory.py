"""Peak memory of saliency maps for a large batch, against Captum's: ``python benchmarks/memory.py``.

Every figure is the peak resident memory of a process of its own, libraries included, in MiB: onnxplain that
differentiates the model first, onnxplain with the prepared model in its cache, and Captum's Saliency on the torch
network (eager) with the same reduction. In brackets: what came on top of the loaded model, for each image.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import common
import nets

OURS = """
import sys, numpy as np
from onnxplain import Explainer
explainer, batch = Explainer(sys.argv[1]), int(sys.argv[2])
if batch:
    x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
    assert explainer.saliency(x).shape == (batch, 224, 224)
"""
CAPTUM = """
import sys, torch
sys.path.insert(0, sys.argv[3])
import nets
from captum.attr import Saliency
model, batch = nets.NETS[sys.argv[1]]().eval().requires_grad_(False), int(sys.argv[2])
if batch:
    x = torch.randn(batch, 3, 224, 224)
    with torch.no_grad():
        target = model(x[:1]).argmax(1).expand(batch)
    maps = Saliency(model).attribute(x.requires_grad_(), target).amax(1)
    assert maps.shape == (batch, 224, 224)
"""


def measured(program: str, *arguments: str, batch: int) -> str:
    before, peak = (common.peak_megabytes(program, arguments[0], str(n), *arguments[1:]) for n in (0, batch))
    return f"{peak:.0f} ({(peak - before) / batch:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=["resnet50"], choices=list(nets.NETS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="keeps the exported networks")
    options = parser.parse_args()
    print(common.environment("torch", "captum") + "\n")
    rows = []
    for name in options.nets:
        nets.cached(name, options.folder)
        path = str(options.folder / f"{name}.onnx")
        os.environ["ONNXPLAIN_CACHE"] = "off"
        fresh = measured(OURS, path, batch=options.batch)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["ONNXPLAIN_CACHE"] = cache
            common.peak_megabytes(OURS, path, str(options.batch))
            warm = measured(OURS, path, batch=options.batch)
        captum = measured(CAPTUM, name, str(Path(__file__).parent), batch=options.batch)
        rows.append([f"{name}, batch {options.batch}", fresh, warm, captum])
    print(common.table(["MiB", "onnxplain", "onnxplain, cached", "Captum"], rows))


if __name__ == "__main__":
    main()
