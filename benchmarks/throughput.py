"""Photos per second of the Explainer against a bare session: ``python benchmarks/throughput.py``.

The photos are JPEG files, copies of those in ``--photos`` or of the bundled one; the model is the bundled one. In turn,
in one process:

* bare: the gradient session on preloaded arrays, ``--batch`` at a time on all cores, nothing else,
* side by side: the same arrays through the Explainer's own runs, one for each core,
* stream: ``Explainer.stream`` over the files: read, preprocessed, run, reduced; nothing rendered,
* render: the same, and each overlay is drawn.

The table has images per second, medians over rounds, and the median of ratios to ``bare`` within a round. Then the
peak memory of new processes that stream over more and more files.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

import common
from onnxplain import Explainer
from onnxplain.bundled import bundled_photo
from onnxplain.photos import load_image

STREAM = """
import sys, onnxplain
for explanation in onnxplain.Explainer().stream(sys.argv[1], progress=False):
    pass
"""


def copies(photos: list[Path], count: int, folder: Path) -> list[Path]:
    """``count`` files in a new folder, the photos again and again."""
    folder.mkdir()
    files = [folder / f"{number:05}.jpg" for number in range(count)]
    for photo, file in zip(itertools.cycle(photos), files):
        shutil.copyfile(photo, file)
    return files


def contestants(explainer: Explainer, files: list[Path], batch: int) -> dict[str, common.Call]:
    preprocessing, attributor = explainer.preprocessing.preprocessing, explainer._attributor
    name, target, session = explainer.inputs[0].name, attributor.signature.target, attributor.session
    outputs = [attributor.signature.score, attributor.signature.class_scores, attributor.gradients[0].output]
    tensors = [preprocessing.apply(load_image(file))[0] for file in files[:64]]
    rows = [
        [tensors[i % len(tensors)] for i in range(len(files))][at : at + batch] for at in range(0, len(files), batch)
    ]
    feeds = [{name: np.stack(row), target: np.full(len(row), -1)} for row in rows]
    return {
        "bare": lambda: [session.session.run(feed, outputs) for feed in feeds],
        "side by side": lambda: [session.run(feed, outputs) for feed in feeds],
        "stream": lambda: [None for _ in explainer.stream(files, progress=False)],
        "render": lambda: [one.overlay() is None for one in explainer.stream(files, progress=False)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of JPEG files")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", type=int, nargs="*", default=[200, 2000], help="numbers of files")
    options = parser.parse_args()
    photos = [bundled_photo()] if options.photos is None else sorted(options.photos.glob("*.jpg"))
    print(common.environment("pillow"))
    with tempfile.TemporaryDirectory() as name:
        files = copies(photos, options.count, Path(name, "timed"))
        calls = contestants(Explainer(), files, options.batch)
        seconds = common.measure(calls, options.rounds)
        rows = [
            [
                label,
                f"{options.count / statistics.median(times):.1f}",
                f"{1 / common.ratio(times, seconds['bare']):.3f}",
            ]
            for label, times in seconds.items()
        ]
        print(common.table([f"{options.count} photos, batch {options.batch}", "images/s", "of bare"], rows))
        for count in options.memory:
            copies(photos, count, Path(name, str(count)))
            peak = common.peak_megabytes(STREAM, str(Path(name, str(count))))
            print(f"{count} files: peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
