"""From the start of a process to the first map: ``python benchmarks/startup.py [MODEL ...] [--before SRC]``.

Every run is a new process with files that the operating system has in memory. Wall-clock seconds, the median of the
runs, with the cache of prepared models off, empty, and warm. Without models it is the bundled one that is explained, in
Python and by ``onnxplain explain``, which also writes its picture. With models, those of ``networks.py`` for instance,
it is a map of zeros, with the operators of decision 15 on and off, and by the package in the folder SRC of another
checkout; runs take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTHON = (
    "import onnxplain; from onnxplain.bundled import bundled_photo; "
    "onnxplain.Explainer().explain(bundled_photo()).saliency"
)
ZEROS = (
    "import sys; import numpy; import onnxplain; explainer = onnxplain.Explainer(sys.argv[1]); "
    "(given,) = explainer.inputs; "
    "explainer.saliency(numpy.zeros([n if isinstance(n, int) else 1 for n in given.shape], given.dtype))"
)


def seconds(command: list[str], cache: str, folder: Path, **settings: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "ONNXPLAIN_CACHE": cache, **settings})
    return time.perf_counter() - begin


def cell(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} s ({min(times):.2f} - {max(times):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--before", type=Path, metavar="SRC")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    if options.models:
        networks(options.models, options.before, options.runs)
    else:
        bundled(options.runs)


def networks(models: list[Path], before: Path | None, runs: int) -> None:
    """Print a line for each model and way; runs of one model take turns."""
    ways = {"on": {"ONNXPLAIN_OPERATORS": ""}, "off": {"ONNXPLAIN_OPERATORS": "off"}}
    if before is not None:
        earlier = {"PYTHONPATH": str(before.resolve())}
        ways |= {f"before, {way}": {**settings, **earlier} for way, settings in ways.items()}
    print(f"{'median (smallest - largest) of ' + str(runs):38}{'empty':>22}{'warm':>22}")
    for model in models:
        command = [sys.executable, "-c", ZEROS, str(model.resolve())]
        times: dict[str, tuple[list[float], list[float]]] = {way: ([], []) for way in ways}
        for _ in range(runs):
            for way, settings in ways.items():
                with tempfile.TemporaryDirectory() as name:
                    for found in times[way]:
                        found.append(seconds(command, f"{name}/cache", Path(name), **settings))
        for way, (empty, warm) in times.items():
            print(f"{model.stem + ', ' + way:38}{cell(empty):>22}{cell(warm):>22}", flush=True)


def bundled(runs: int) -> None:
    """Print a line for each way to explain the bundled photo."""
    commands = {
        "Explainer().explain(photo).saliency": [sys.executable, "-c", PYTHON],
        "onnxplain explain": [sys.executable, "-m", "onnxplain", "explain", "--quiet"],
    }
    print(f"{'median (smallest - largest) of ' + str(runs):38}{'off':>22}{'empty':>22}{'warm':>22}")
    for label, command in commands.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            seconds(command, "off", folder)
            off = [seconds(command, "off", folder) for _ in range(runs)]
            empty = [seconds(command, str(folder / f"cache{number}"), folder) for number in range(runs)]
            warm = [seconds(command, str(folder / "cache0"), folder) for _ in range(runs)]
        print(f"{label:38}" + "".join(f"{cell(times):>22}" for times in (off, empty, warm)))


if __name__ == "__main__":
    main()
