"""What the benchmarks share: interleaved timing, the environment they ran in, Markdown tables.

Every timing is a ratio within one process: all contestants run in turn, round by round, with a pause before each
timed call, since threads of the one before may go on spinning for a moment. Report medians of the ratios of a round.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

Call = Callable[[], Any]


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load() -> str:
    """The machine's load averages."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def versions(*packages: str) -> str:
    """Name and version of those packages that are installed."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def environment(*packages: str) -> str:
    """Date, versions, processor and load, in a sentence."""
    return (
        f"{date.today().isoformat()}: {versions('onnxplain', 'onnxruntime', 'onnx', 'numpy', *packages)}, "
        f"Python {platform.python_version()}, {platform.system()}; {processor()}, {os.cpu_count()} cores, "
        f"load {load()}."
    )


def measure(
    calls: Mapping[str, Call], rounds: int, pause: float = 0.1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call, round by round; a round before the first warms up."""
    seconds: dict[str, list[float]] = {label: [] for label in calls}
    for number in range(rounds + 1):
        for label, call in calls.items():
            time.sleep(pause)
            begin = clock()
            call()
            if number:
                seconds[label].append(clock() - begin)
    return seconds


def ratio(seconds: Sequence[float], unit: Sequence[float]) -> float:
    """The median over rounds of seconds / unit."""
    return statistics.median(a / b for a, b in zip(seconds, unit))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


#: What a program that :func:`peak_megabytes` runs ends with. Linux hands the parent's ``ru_maxrss`` on, hence VmHWM.
_PEAK = """
try:
    with open("/proc/self/status") as lines:
        print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def peak_megabytes(program: str, *arguments: str) -> float:
    """The peak resident memory of a new process that runs ``program``, in MiB."""
    command = [sys.executable, "-c", program + _PEAK, *arguments]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
