"""Several targets of a sample by one pass forwards, against separate runs: ``python benchmarks/several_targets.py``.

Interleaved in one process, ResNet-50 on the CPU, as the Explainer runs it:

* array: ``attribute(x, "top3")`` for one sample against ``attribute(x, class)`` for each of the three classes,
* photo: ``explain(photo, "top3")`` against an ``explain(photo, class)`` for each,
* folder: ``explain(photos, "top3")`` against an ``explain(photos, classes)`` for each rank,

and the same for five. The ratio is the median of those within a round. The last column is the largest difference of an
attribution, as a share of its largest element; 0 means equal to the last bit. Then what loading takes once: the call
that cuts the model in two, and the same in a process that finds both halves in the cache; and the peak memory of
processes that explain a batch of 16.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import common
from onnxplain import Explainer
from onnxplain.bundled import bundled_photo
from onnxplain.photos import load_image
from throughput import copies

PEAK = """
import sys, numpy, onnxplain
file, cache, several = sys.argv[1:]
explainer = onnxplain.Explainer(file, preprocessing="imagenet", cache=cache)
x = numpy.random.default_rng(0).standard_normal((16, 3, 224, 224), numpy.float32)
for _ in range(3):
    explainer.attribute(x, "top3") if int(several) else [explainer.attribute(x, k) for k in range(3)]
"""


def contestants(explainer: Explainer, kind: str, given: Any, top: int) -> dict[str, common.Call]:
    """Both ways to the attributions of the best classes of ``given``, each as one array with the ranks on axis 0."""
    if kind == "array":
        best = np.argsort(-explainer.scores(given), axis=1, kind="stable")[:, :top]
        return {
            "separate": lambda: np.stack([explainer.attribute(given, best[:, rank]) for rank in range(top)]),
            "shared": lambda: np.moveaxis(np.asarray(explainer.attribute(given, f"top{top}")), 1, 0),
        }
    found = [explainer.explain(photo, f"top{top}") for photo in given]
    ranks = [[one[rank].target for one in found] for rank in range(top)]
    if kind == "photo":
        return {
            "separate": lambda: np.stack([explainer.explain(given[0], of).attribution[None] for (of,) in ranks]),
            "shared": lambda: np.stack([e.attribution[None] for e in explainer.explain(given[0], f"top{top}")]),
        }
    return {
        "separate": lambda: np.stack([[e.attribution for e in explainer.explain(given, of)] for of in ranks]),
        "shared": lambda: np.stack(
            [[e.attribution for e in one] for one in zip(*explainer.explain(given, f"top{top}"))]
        ),
    }


def loading(file: Path) -> str:
    """Seconds of the first and second call with several targets, with an empty cache and with a warm one."""
    x = np.zeros((1, 3, 224, 224), np.float32)
    lines = []
    with tempfile.TemporaryDirectory() as cache:
        for state in ("empty", "warm"):
            explainer, seconds = Explainer(file, cache=cache), []
            for _ in range(3):
                begin = time.perf_counter()
                explainer.attribute(x, "top3")
                seconds.append(time.perf_counter() - begin)
            lines.append(f"{state} cache {seconds[1] - seconds[2]:.2f} s")
    return ", ".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a classifier of [N,3,224,224]; default: ResNet-50, random weights")
    parser.add_argument("--cache", type=Path, help="where prepared models are kept; default: a folder of this run")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kinds", nargs="*", default=["array", "photo", "folder"])
    parser.add_argument("--no-memory", action="store_true")
    options = parser.parse_args()
    print(common.environment() + "\n")
    with tempfile.TemporaryDirectory() as name:
        file = options.model
        if file is None:
            import onnx

            from nets import build, export

            file = Path(name, "resnet50.onnx")
            onnx.save(export(build("resnet50")), file)
        cache = options.cache or Path(name, "cache")
        explainer = Explainer(file, preprocessing="imagenet", cache=cache)
        photos = copies([bundled_photo()], options.photos, Path(name, "photos"))
        x = explainer.preprocessing.preprocessing.apply(load_image(photos[0]))[0][None]
        inputs = {"array": x, "photo": photos[:1], "folder": photos}
        print(common.table(["targets", "separate", "shared / separate", "limit", "difference"], []))
        for kind in options.kinds:
            for top, limit in ((3, 0.72), (5, 0.65)):
                calls = contestants(explainer, kind, inputs[kind], top)
                calls["shared"]()  # the second call is the one that cuts the model in two
                seconds = common.measure(calls, options.rounds)
                ratios = [a / b for a, b in zip(seconds["shared"], seconds["separate"])]
                separate, shared = (np.asarray(calls[label]()) for label in ("separate", "shared"))
                row = [
                    f"{kind}, top{top}",
                    f"{statistics.median(seconds['separate']) * 1e3:.0f} ms",
                    f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                    f"{limit}",
                    f"{np.abs(separate - shared).max() / np.abs(separate).max():.0e}",
                ]
                print(f"| {' | '.join(row)} |", flush=True)
        print(f"\nCutting in two and loading, once: {loading(file)}.")
        if not options.no_memory:
            peaks = [common.peak_megabytes(PEAK, str(file), str(cache), several) for several in "01"]
            print(f"Peak memory, 16 samples, three targets: separate {peaks[0]:.0f} MB, shared {peaks[1]:.0f} MB.")


if __name__ == "__main__":
    main()
