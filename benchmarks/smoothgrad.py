"""SmoothGrad against as many single gradients, and the memory that it takes: ``python benchmarks/smoothgrad.py``.

Both with the bundled model, all of it interleaved in one process:

* time: SmoothGrad with 50 samples, for one photo and for a batch of photos, in multiples of 50 gradients for each, by
  the same sessions: those of the batch size that the Explainer chooses, and those of the best one, with the fastest
  gradients of those listed. The gradients are bare runs of the session, without noise, sums, checks or forward passes.
  (Two sessions with the same model and options may differ by a tenth for as long as they live: each is compared with
  itself.)
* memory: how much the resident memory of a new process grows over 50 samples, beside the limit that it was given;
  1024 pixels are those of the model with its height and width left open.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from common import environment, measure, ratio, table
from onnxplain import Explainer
from onnxplain.bundled import bundled_model

SAMPLES = 50
#: Batch sizes to choose from; None is the Explainer's own choice.
SIZES = (None, 1, 2, 4, 8, 16, 32)
MEBIBYTE = 1 << 20


def photos(count: int, side: int = 224) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, side, side), np.float32)


def bare(explainer: Explainer, count: int) -> Callable[[], object]:
    """``count`` gradients, in batches of the explainer's size."""
    attributor = explainer._attributor
    feeds = {explainer.inputs[0].name: photos(count)}
    return partial(attributor.attribute, feeds, np.full(count, 281))


def times(rounds: int, threads: int) -> None:
    explainers = {f"{size or 'chosen'}": Explainer(threads=threads, batch_size=size) for size in SIZES}
    seconds = measure({label: bare(explainer, SAMPLES) for label, explainer in explainers.items()}, rounds)
    each = {label: 1e3 * statistics.median(values) / SAMPLES for label, values in seconds.items()}
    print("milliseconds of one gradient: " + ", ".join(f"batch {label} {value:.1f}" for label, value in each.items()))
    best, rows = min(each, key=lambda label: each[label]), []
    for count in (1, 4):
        calls: dict[str, Callable[[], object]] = {}
        for label in dict.fromkeys(["chosen", best]):
            explainer = explainers[label]
            calls[label] = partial(explainer.attribute, photos(count), 281, "smoothgrad", samples=SAMPLES)
            calls[f"{label} bare"] = bare(explainer, SAMPLES * count)
        seconds = measure(calls, max(5, rounds // count))
        for label in dict.fromkeys(["chosen", best]):
            value = ratio(seconds[label], seconds[f"{label} bare"])
            rows.append([count, label, f"{statistics.median(seconds[label]):.2f} s", f"{value:.3f}"])
    print(table(["photos", "batch", f"SmoothGrad, {SAMPLES} samples", f"x {SAMPLES} gradients each"], rows))


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as line:
        return int(line.read().split()[1]) * resource.getpagesize()


@contextmanager
def highest(found: list[int]) -> Iterator[None]:
    """Appends the largest resident memory while the block runs."""
    done = threading.Event()
    peaks = [resident()]

    def watch() -> None:
        while not done.wait(0.005):
            peaks.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        found.append(max(peaks))


def grown(side: int, limit: int, threads: int) -> None:
    """Print the growth of this process over 50 samples, how they were run, and the time."""
    model = onnx.load(bundled_model())
    for axis, extent in ((2, "H"), (3, "W")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = extent
    explainer = Explainer(model, memory_limit=limit, threads=threads, cache=False)
    attributor, name, x = explainer._attributor, explainer.inputs[0].name, photos(1, side)
    explainer.scores(photos(1, 32))  # the session of the forward pass is loaded
    attributor.attribute({name: photos(1, 32)}, np.array([281]))
    plan = attributor.session.plan({name: x, attributor.signature.target: np.array([281])})
    before, peak = resident(), list[int]()
    with highest(peak):
        begin = time.perf_counter()
        explainer.attribute(x, 281, "smoothgrad", samples=SAMPLES)
        seconds = time.perf_counter() - begin
    print(peak[0] - before, f"{plan.runs}x{plan.samples}", f"{seconds:.1f}")


def memory(threads: int) -> None:
    rows = []
    for side, limit in ((224, 128), (224, 512), (1024, 1024), (1024, 3072)):
        command = [sys.executable, __file__, "--grown", str(side), str(limit * MEBIBYTE), "--threads", str(threads)]
        output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent).stdout
        growth, plan, seconds = output.split()
        mebibytes = int(growth) / MEBIBYTE
        rows.append([f"{side} x {side}", limit, plan, f"{mebibytes:.0f}", f"{mebibytes / limit:.2f}", f"{seconds} s"])
    header = ["photo", "memory_limit, MiB", "runs x samples", "growth, MiB", "of the limit", "time"]
    print(table(header, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=["time", "memory"])
    parser.add_argument("--grown", nargs=2, type=int, metavar=("SIDE", "LIMIT"), help="measure in this process")
    options = parser.parse_args()
    if options.grown:
        grown(*options.grown, options.threads)
        return
    print(environment())
    if options.only != "memory":
        times(options.rounds, options.threads)
    if options.only != "time":
        memory(options.threads)


if __name__ == "__main__":
    main()
