"""From the start of a process to the first map of the bundled model: ``python benchmarks/startup.py``.

Every run is a new process with files that the operating system has in memory. Wall-clock seconds, the median of the
runs, with the cache of prepared models off, empty, and warm; ``onnxplain explain`` also writes its picture.
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


def seconds(command: list[str], cache: str, folder: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "ONNXPLAIN_CACHE": cache})
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
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
        cells = (f"{statistics.median(t):.2f} s ({min(t):.2f} - {max(t):.2f})" for t in (off, empty, warm))
        print(f"{label:38}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
