"""The C++ kernels against NumPy, torch and a plain read of the array: ``python benchmarks/kernels.py``.

Everything runs interleaved in one process; the table has the median time, the median over rounds of the time
divided by that round's sum of the same array (the floor: reading it once; NumPy's or torch's sum, whichever is
faster), and the median speed-up over the NumPy expression. Between two measurements the script sleeps, because
torch's worker threads go on spinning for a moment after their work and would take a core from whoever is next.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

import onnxplain
from onnxplain import native, numpy_twins

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

PAUSE = 0.02  # seconds between measurements


@dataclass
class Contestant:
    name: str
    call: Callable[[], object]
    seconds: list[float] = field(default_factory=list)


def with_instruction_set(name: str, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        os.environ["ONNXPLAIN_ISA"] = name
        call()
        del os.environ["ONNXPLAIN_ISA"]

    return run


def numpy_expression(gradient: npt.NDArray[np.float32]) -> object:
    maps = np.abs(gradient).max(axis=1)
    return maps / maps.max(axis=(1, 2), keepdims=True)


def contestants(batch: int, threads: int) -> list[Contestant]:
    """The sums first, then the kernels, then what they replace."""
    gradient = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
    channels_last = np.ascontiguousarray(gradient.transpose(0, 2, 3, 1))
    half = gradient.astype(np.float16)
    out = np.ones((batch, 224, 224), np.float32)
    picture = np.ones((batch, 224, 224, 3), np.uint8)
    maps = native.saliency(gradient)
    photo = np.random.default_rng(0).integers(0, 256, picture.shape, np.uint8)
    colormap = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)

    entries: dict[str, Callable[[], object]] = {"sum, NumPy": lambda: np.sum(gradient)}
    if torch is not None:
        torch.set_num_threads(threads)
        tensor = torch.from_numpy(gradient)
        entries["sum, torch"] = lambda: torch.sum(tensor)
    entries["saliency max, out="] = lambda: native.saliency(gradient, out=out, threads=threads)
    for name in native.available_instruction_sets():
        entries[f"... {name}"] = with_instruction_set(name, entries["saliency max, out="])
    entries |= {
        "... 1 thread": lambda: native.saliency(gradient, out=out, threads=1),
        "... no out=": lambda: native.saliency(gradient, threads=threads),
        "... NHWC": lambda: native.saliency(channels_last, channel_axis=3, out=out, threads=threads),
        "... float16": lambda: native.saliency(half, out=out, threads=threads),
        "saliency minmax": lambda: native.saliency(gradient, normalize="minmax", out=out, threads=threads),
        "saliency percentile": lambda: native.saliency(gradient, normalize="percentile", out=out, threads=threads),
        "saliency none": lambda: native.saliency(gradient, normalize="none", out=out, threads=threads),
        "max, NumPy": lambda: numpy_expression(gradient),
    }
    if torch is not None:

        def torch_expression() -> torch.Tensor:
            found = tensor.abs().amax(1)
            return found / found.amax((1, 2), keepdim=True)

        entries["max, torch"] = torch_expression
    entries["overlay, out="] = lambda: native.overlay(maps, photo, colormap, out=picture, threads=threads)
    entries["overlay, NumPy"] = lambda: numpy_twins.overlay(maps[:16], photo[:16], colormap)
    return [Contestant(name, call) for name, call in entries.items()]


def median_ratio(numerator: Contestant, denominator: Contestant) -> float:
    return statistics.median(a / b for a, b in zip(numerator.seconds, denominator.seconds))


def load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    print(f"onnxplain {onnxplain.__version__}, NumPy {np.__version__}, torch {getattr(torch, '__version__', 'none')}")
    print(f"Python {platform.python_version()}, {platform.system()}, {processor()}, {os.cpu_count()} cores")
    print(f"instruction set {native.instruction_set()}, {options.threads} threads, load before {load()}")
    print(f"gradient {options.batch}x3x224x224 float32, {options.rounds} rounds; NumPy's overlay: 16 images only")

    entrants = contestants(options.batch, options.threads)
    for number in range(options.rounds + 1):
        for contestant in entrants:
            time.sleep(PAUSE)
            begin = time.perf_counter()
            contestant.call()
            if number > 0:  # the first round warms up
                contestant.seconds.append(time.perf_counter() - begin)

    sums = [contestant for contestant in entrants if contestant.name.startswith("sum")]
    floor = min(sums, key=lambda contestant: statistics.median(contestant.seconds))
    expression = next(contestant for contestant in entrants if contestant.name == "max, NumPy")
    print(f"\n{'':22}{'ms':>8}{'min ms':>8}{'x sum':>8}{'speed-up over NumPy':>21}")
    for contestant in entrants:
        middle, least = statistics.median(contestant.seconds) * 1e3, min(contestant.seconds) * 1e3
        text = f"{contestant.name:22}{middle:8.2f}{least:8.2f}{median_ratio(contestant, floor):8.2f}"
        if contestant.name.startswith(("saliency", "...", "max")):
            text += f"{median_ratio(expression, contestant):21.1f}"
        print(text)
    print(f"\nload after {load()}; the sum is {floor.name.split()[-1]}'s")


if __name__ == "__main__":
    main()
