"""Photos per second of ``onnxplain bulk`` against ``Explainer.stream``: ``python benchmarks/bulk.py``.

The photos are drawn here (JPEG files of ``--size`` pixels a side); the model is the bundled one. In turn, in one
process:

* stream: ``Explainer.stream`` over the files, nothing kept,
* bulk: the same files into Parquet shards, float16 maps, compressed,
* start: a run of one photo, what every run takes besides its photos.

Each round prints the seconds, and those of the processor, which count where the machine is busy with other things. The
table has images per second, medians over rounds, and the medians of ratios to ``stream`` within a round. Then the peak
memory of new processes that write shards of more and more files.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

import common
from onnxplain.bulk.run import Wanted, run
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


def timed(folder: Path, photos: Path, one: Path, count: int, rounds: int) -> None:
    """Print the seconds of each round, and the table."""
    explainer, method = BulkExplainer(), find_method("saliency", {})

    def write(place: Path) -> None:
        run(Wanted(None, {}, method, None), open_source(place), folder / "maps", explainer, quiet=True)
        shutil.rmtree(folder / "maps")

    def stream() -> None:
        for _ in explainer.stream(photos, progress=False):
            pass

    calls: dict[str, common.Call] = {"stream": stream, "bulk": lambda: write(photos), "start": lambda: write(one)}
    wall: dict[str, list[float]] = {label: [] for label in calls}
    work: dict[str, list[float]] = {label: [] for label in calls}
    for number in range(rounds + 1):
        for label, call in calls.items():
            begun, worked = time.perf_counter(), time.process_time()
            call()
            if number:  # a round before the first warms up
                wall[label].append(time.perf_counter() - begun)
                work[label].append(time.process_time() - worked)
        if number:
            shown = (f"{label} {wall[label][-1]:.2f} s ({work[label][-1]:.2f})" for label in calls)
            print(f"round {number}: {', '.join(shown)}", flush=True)
    rows = [
        [
            label,
            f"{count / median(wall[label]):.1f}",
            f"{1 / common.ratio(wall[label], wall['stream']):.3f}",
            f"{1 / common.ratio(work[label], work['stream']):.3f}",
        ]
        for label in ("stream", "bulk")
    ]
    print(common.table([f"{count} photos", "images/s", "of stream", "of its processor time"], rows))


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
            one = draw(folder / "one", 1, options.size)
            timed(folder, photos, one, options.count, options.rounds)
        for count in options.memory:
            photos = draw(folder / str(count), count, options.size)
            peak = common.peak_megabytes(COMMAND, str(photos), str(folder / f"maps{count}"))
            print(f"{count} files: peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
