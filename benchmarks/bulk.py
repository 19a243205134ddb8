"""Photos per second of ``onnxplain bulk`` against ``Explainer.stream``: ``python benchmarks/bulk.py``.

The photos are drawn here (JPEG files of ``--size`` pixels a side); the model is the bundled one. In turn, in one
process:

* stream: ``Explainer.stream`` over the files, nothing kept,
* bulk: the same files into Parquet shards, float16 maps, compressed,
* bulk, uint8: the same with a byte for each number.

The table has images per second, medians over rounds, and the median of ratios to ``stream`` within a round. Then the
peak memory of new processes that write shards of more and more files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

import common
from onnxplain.bulk.run import Wanted, run
from onnxplain.bulk.shards import MapType
from onnxplain.bulk.sources import open_source
from onnxplain.bulk.worker import BulkExplainer
from onnxplain.methods import find_method

COMMAND = """
import sys, onnxplain.cli
sys.argv = ["onnxplain", "bulk", sys.argv[1], "-o", sys.argv[2], "--quiet"]
try:
    onnxplain.cli.main()
except SystemExit as end:
    assert not end.code, end.code
"""


def draw(folder: Path, count: int, size: int) -> Path:
    """``count`` JPEG files, each of another picture."""
    folder.mkdir()
    ramp = np.linspace(0, 255, size)
    for number in range(count):
        random = np.random.default_rng(number)
        picture = ramp[:, None, None] * random.random(3) + ramp[None, :, None] * random.random(3)
        noise = random.normal(0, 12, (size, size, 1))
        pixels = np.clip(picture / 2 + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.jpg", quality=90)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=400, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", default=[200, 2000], help="numbers of files")
    options = parser.parse_args()
    print(common.environment("pyarrow", "pillow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.rounds:
            photos = draw(folder / "timed", options.count, options.size)
            explainer, source, method = BulkExplainer(), open_source(photos), find_method("saliency", {})

            def write(kind: MapType) -> None:
                run(Wanted(None, {}, method, None, kind), source, folder / "maps", explainer, quiet=True)
                shutil.rmtree(folder / "maps")

            calls: dict[str, common.Call] = {
                "stream": lambda: [None for _ in explainer.stream(photos, progress=False)],
                "bulk": lambda: write("float16"),
                "bulk, uint8": lambda: write("uint8"),
            }
            seconds = common.measure(calls, options.rounds)
            rows = [
                [label, f"{options.count / median(times):.1f}", f"{1 / common.ratio(times, seconds['stream']):.3f}"]
                for label, times in seconds.items()
            ]
            print(common.table([f"{options.count} photos", "images/s", "of stream"], rows))
        for count in options.memory:
            photos = draw(folder / str(count), count, options.size)
            peak = common.peak_megabytes(COMMAND, str(photos), str(folder / f"maps{count}"))
            print(f"{count} files: peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
