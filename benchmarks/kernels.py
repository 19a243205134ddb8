"""The C++ kernels against a plain read of their input, NumPy and torch: ``python benchmarks/kernels.py``.

The unit is the time of a sum over what a kernel must read: NumPy's sum or torch's on as many threads, whichever is
faster. For pictures and float16, whose own sums are slow, it is the sum of a float32 array of as many bytes. All
contestants of a row run interleaved in one process; the table has medians over rounds of ratios within a round. NumPy
and torch do the same in their own words, and the results are compared in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import common
from onnxplain import native
from onnxplain import native_reference as numpy_twins

Array = NDArray[Any]
Maker = Callable[[argparse.Namespace], "Case"]

HEADER = ("kernel", "input", "time", "of a plain read", "NumPy takes", "torch takes")


@dataclass(frozen=True)
class Case:
    """What is timed in one row; the calls return what is compared."""

    shape: str
    read: Array  # float32, contiguous: as many bytes as the kernel reads
    ours: common.Call
    numpy: common.Call | None = None
    torch: common.Call | None = None
    threads: int = 2
    repeat: int = 1


def normal(*shape: int, dtype: type = np.float32) -> Array:
    return np.random.default_rng(0).standard_normal(shape, np.float32).astype(dtype, copy=False)


def as_read(*arrays: Array) -> Array:
    """A float32 array of as many bytes as the arrays hold."""
    return np.ones(sum(array.nbytes for array in arrays) // 4, np.float32)


def numpy_saliency(gradient: Array, axis: int, reduction: str, normalize: str) -> Array:
    maps = np.abs(gradient).max(axis) if reduction == "max_abs" else np.abs(gradient.sum(axis))
    image: dict[str, Any] = {"axis": (1, 2), "keepdims": True}
    if normalize == "max":
        return maps / maps.max(**image)
    if normalize == "minmax":
        low = maps.min(**image)
        return (maps - low) / (maps.max(**image) - low)
    if normalize == "percentile":
        return np.minimum(maps / np.percentile(maps, 99, **image), 1)
    return maps


def torch_saliency(gradient: torch.Tensor, axis: int, reduction: str, normalize: str) -> torch.Tensor:
    maps = gradient.abs().amax(axis) if reduction == "max_abs" else gradient.sum(axis).abs()
    if normalize == "max":
        return maps / maps.amax((1, 2), keepdim=True)
    if normalize == "minmax":
        low = maps.amin((1, 2), keepdim=True)
        return (maps - low) / (maps.amax((1, 2), keepdim=True) - low)
    if normalize == "percentile":
        return (maps / torch.quantile(maps.flatten(1), 0.99, dim=1)[:, None, None]).clamp(max=1)
    return maps


def saliency(
    gradient: Array,
    threads: int,
    *,
    axis: int = 1,
    reduction: native.Reduction = "max_abs",
    normalize: native.Normalization = "max",
    isa: str | None = None,
    with_out: bool = True,
) -> Case:
    shape = tuple(extent for i, extent in enumerate(gradient.shape) if i != axis)
    out = np.ones(shape, np.float32) if with_out else None
    tensor = torch.from_numpy(gradient)
    repeat = max(1, 2**22 // gradient.size)

    def ours() -> Array:
        if isa is not None:
            os.environ["ONNXPLAIN_ISA"] = isa
        found = native.saliency(
            gradient, channel_axis=axis, reduction=reduction, normalize=normalize, threads=threads, out=out
        )
        os.environ.pop("ONNXPLAIN_ISA", None)
        return found

    return Case(
        f"{'x'.join(map(str, gradient.shape))} {gradient.dtype}",
        gradient if gradient.dtype == np.float32 and gradient.flags.c_contiguous else as_read(gradient),
        ours,
        lambda: numpy_saliency(gradient, axis, reduction, normalize),
        lambda: torch_saliency(tensor, axis, reduction, normalize),
        threads,
        repeat,
    )


def overlay(options: argparse.Namespace, *, with_photo: bool = True) -> Case:
    maps = native.saliency(normal(options.batch, 1, 224, 224))
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*maps.shape, 3), np.uint8) if with_photo else None
    colormap, out = rng.integers(0, 256, (256, 3), np.uint8), np.ones((*maps.shape, 3), np.uint8)
    return Case(
        f"{'x'.join(map(str, maps.shape))} float32" + (", photos uint8" if with_photo else ""),
        as_read(maps) if photo is None else as_read(maps, photo),
        lambda: native.overlay(maps, photo, colormap, out=out, threads=options.threads),
        lambda: numpy_twins.overlay(maps, photo, colormap),
        threads=options.threads,
    )


def accumulate(options: argparse.Namespace, samples: int) -> Case:
    gradients, shape = normal(samples, 8, 3, 224, 224), (8, 3, 224, 224)
    total, squares = np.ones(shape), np.ones(shape)

    def ours() -> Array:
        total[...] = squares[...] = 0
        native.accumulate(gradients, total, squares, threads=options.threads)
        return total

    def in_numpy() -> Array:
        total[...] = squares[...] = 0
        numpy_twins.accumulate(gradients, total, squares)
        return total

    def in_torch() -> torch.Tensor:
        wide = tensor.double()
        found = wide.sum(0)
        wide.square().sum(0)
        return found

    tensor = torch.from_numpy(gradients)
    return Case(
        f"{samples}x8x3x224x224 float32", gradients, ours, in_numpy, in_torch, options.threads, max(1, 8 // samples)
    )


def images(options: argparse.Namespace) -> Array:
    return normal(options.batch, 3, 224, 224)


def channels_last(options: argparse.Namespace) -> Array:
    return np.ascontiguousarray(images(options).transpose(0, 2, 3, 1))


CASES: dict[str, Maker] = {
    "max abs, max, `out=`": lambda o: saliency(images(o), o.threads),
    **{
        f"... {name}": lambda o, name=name: saliency(images(o), o.threads, isa=name)
        for name in native.available_instruction_sets()
    },
    "... one thread": lambda o: saliency(images(o), 1),
    "... without `out=`": lambda o: saliency(images(o), o.threads, with_out=False),
    "... channels last": lambda o: saliency(channels_last(o), o.threads, axis=3),
    "... float16": lambda o: saliency(images(o).astype(np.float16), o.threads),
    "... float64": lambda o: saliency(images(o).astype(np.float64), o.threads),
    "... cropped (rows apart)": lambda o: saliency(images(o)[:, :, 5:-5, 5:-5], o.threads),
    "... 64 channels": lambda o: saliency(normal(o.batch // 16, 64, 112, 112), o.threads),
    "... 768 channels last": lambda o: saliency(normal(o.batch // 4, 14, 14, 768), o.threads, axis=3),
    "... batch 8": lambda o: saliency(normal(8, 3, 224, 224), o.threads),
    "... batch 1": lambda o: saliency(normal(1, 3, 224, 224), o.threads),
    "... one large image": lambda o: saliency(normal(1, 3, 4000, 3000), o.threads),
    "... small images": lambda o: saliency(normal(1000, 3, 32, 32), o.threads),
    "max abs, min-max": lambda o: saliency(images(o), o.threads, normalize="minmax"),
    "max abs, percentile 99": lambda o: saliency(images(o), o.threads, normalize="percentile"),
    "... small images, percentile 99": lambda o: saliency(normal(1000, 3, 32, 32), o.threads, normalize="percentile"),
    "max abs alone": lambda o: saliency(images(o), o.threads, normalize="none"),
    "abs of sum, max": lambda o: saliency(images(o), o.threads, reduction="abs_sum"),
    "... channels last, abs of sum": lambda o: saliency(channels_last(o), o.threads, axis=3, reduction="abs_sum"),
    "sums and squares of 1 sample": lambda o: accumulate(o, 1),
    "sums and squares of 8 samples": lambda o: accumulate(o, 8),
    "overlay over photos, `out=`": overlay,
    "colours alone, `out=`": lambda o: overlay(o, with_photo=False),
}


def repeated(call: common.Call, times: int) -> common.Call:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def row(name: str, options: argparse.Namespace) -> list[str]:
    case = CASES[name](options)
    tensor = torch.from_numpy(case.read)
    torch.set_num_threads(case.threads)
    calls = {"sum, NumPy": lambda: np.sum(case.read), "sum, torch": lambda: torch.sum(tensor), "ours": case.ours}
    for label, other in (("numpy", case.numpy), ("torch", case.torch)):
        if other is not None:
            # In float16 the quotients are rounded to 2^-11.
            np.testing.assert_allclose(case.ours(), np.asarray(other()), rtol=0, atol=1e-3)
            calls[label] = other
    seconds = common.measure(
        {label: repeated(call, case.repeat) for label, call in calls.items()}, options.rounds, options.pause
    )
    unit = min(seconds["sum, NumPy"], seconds["sum, torch"], key=statistics.median)
    cells = [name, case.shape, f"{statistics.median(seconds['ours']) / case.repeat * 1e3:.3g} ms"]
    cells.append(f"{common.ratio(seconds['ours'], unit):.2f}")
    for label in ("numpy", "torch"):
        cells.append(f"{common.ratio(seconds[label], seconds['ours']):.1f}x" if label in seconds else "-")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", metavar="WORD", help="only rows whose kernel has one of these words")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.02, help="seconds before each timed call")
    parser.add_argument("--markdown", action="store_true", help="a Markdown table, for benchmarks/RESULTS.md")
    options = parser.parse_args()
    print(
        f"`python benchmarks/kernels.py`, {options.rounds} rounds, {options.threads} threads, "
        f"{native.instruction_set()}. {common.environment('torch')}\n"
    )
    if options.markdown:
        print(common.table(HEADER, []), flush=True)
    else:
        print("{:32} {:>30} {:>9} {:>15} {:>12} {:>12}".format(*HEADER))
    for name in CASES:
        if options.cases and not any(word in name for word in options.cases):
            continue
        cells = row(name, options)
        text = (
            f"| {' | '.join(cells)} |" if options.markdown else "{:32} {:>30} {:>9} {:>15} {:>12} {:>12}".format(*cells)
        )
        print(text, flush=True)


if __name__ == "__main__":
    main()
