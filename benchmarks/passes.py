"""Gradient sessions against the plain forward session in ONNX Runtime: ``python benchmarks/passes.py``.

Everything runs interleaved in one process, with a pause before every timed call, in sessions as the Explainer opens
them: with ``session.force_spinning_stop``, or else the worker threads of one session slow down the next, and with
weights behind DequantizeLinear (the bundled model's) converted at load. The table has the median over rounds
of time / time of the plain forward in the same round, and in brackets the smallest and largest of these ratios:

* portable: the gradient as the rules write it; cpu: in the forms for the CPU provider,
* one row per pass with ``--ablation``: the forms for the CPU provider without that pass.

Correctness is checked in the same run: the largest difference between the two gradients, of the largest gradient
of each image, and the share of elements beyond 1e-5. Activations within rounding of a kink may fall on the other
side where ONNX Runtime fuses the forward part differently; that shows as a tiny share of large differences.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import common
import nets
from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.graph.passes import Report
from onnxplain.bundled import bundled_model
from onnxplain.runtime import CPU, Session

BUNDLED = "bundled"


def without(name: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """The gradient in the forms for the CPU provider, but for one pass."""
    kept = PASSES["cpu"]
    try:
        PASSES["cpu"] = tuple(rewrite for rewrite in kept if rewrite.name != name)
        return differentiate(model, form="cpu")
    finally:
        PASSES["cpu"] = kept


def fired(report: Report) -> dict[str, int]:
    """How many nodes each pass for the CPU provider rewrote, of those that rewrote any."""
    counts = report.counts()
    return {one.name: done for one in PASSES["cpu"] if (done := counts.get(one.name, (0, 0))[0])}


def difference(expected: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """The largest difference, and the share of elements beyond 1e-5, of each image's largest gradient."""
    axes = tuple(range(1, expected.ndim))
    error = np.abs(found - expected) / np.abs(expected).max(axis=axes, keepdims=True)
    return float(error.max()), float(np.mean(error > 1e-5))


def contestants(
    name: str, batch: int, options: argparse.Namespace
) -> tuple[dict[str, Callable[[], Any]], tuple[float, float], Report]:
    plain = onnx.load(bundled_model()) if name == BUNDLED else nets.cached(name, options.folder)[0]
    report = Report()
    variants = {"portable": differentiate(plain), "cpu": differentiate(plain, form="cpu", report=report)}
    if options.ablation:
        variants |= {f"cpu without {rewrite}": without(rewrite, plain) for rewrite in fired(report)}
    source = plain.graph.input[0].name
    x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
    forward = Session(plain, providers=CPU, threads=options.threads)
    scores = plain.graph.output[0].name
    target = forward.run({source: x}, [scores])[0].argmax(1).astype(np.int64)
    calls: dict[str, Callable[[], Any]] = {"forward": lambda: forward.run({source: x}, [scores])}
    for label, variant in variants.items():
        runner = Session(variant, providers=CPU, threads=options.threads)
        calls[label] = lambda runner=runner: runner.run({source: x, "target": target}, [f"grad_{source}"])[0]
    apart = difference(calls["portable"](), calls["cpu"]())
    return calls, apart, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=[*nets.NETS, BUNDLED], choices=[*nets.NETS, BUNDLED])
    parser.add_argument("--batches", nargs="*", type=int, default=[8, 1])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds before each timed call")
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for busy machines, with --threads 1")
    parser.add_argument("--ablation", action="store_true", help="also leave out one pass at a time")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="keeps the exported networks")
    options = parser.parse_args()

    clock = time.process_time if options.cpu_time else time.perf_counter
    print(common.environment())
    print(
        f"{options.threads} threads, {options.rounds} rounds, {'processor' if options.cpu_time else 'wall clock'} time"
    )
    for name in options.nets:
        for batch in options.batches:
            calls, (largest, share), report = contestants(name, batch, options)
            seconds = common.measure(calls, options.rounds, options.pause, clock)
            forward = seconds.pop("forward")
            print(f"\n{name}, batch {batch}: forward {statistics.median(forward) * 1e3:.1f} ms, load {common.load()}")
            print(f"  largest difference {largest:.1e}, {share:.1e} of the elements beyond 1e-5; rewritten: ", end="")
            print(", ".join(f"{done} {rewrite}" for rewrite, done in fired(report).items()))
            for label, times in seconds.items():
                ratios = [a / b for a, b in zip(times, forward)]
                print(f"  {label:34}{statistics.median(ratios):6.2f}  ({min(ratios):.2f} - {max(ratios):.2f})")


if __name__ == "__main__":
    main()
