"""From nothing to the first picture: ``python benchmarks/first_picture.py WHEEL``, or a folder of sources.

A new virtual environment, ``pip install WHEEL[cpu]`` and ``onnxplain explain`` with an empty cache, as the README has
them. Wall-clock seconds of each run; what pip takes depends on how fast the package index answers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    print(f"{'':8}{'environment':>14}{'install':>10}{'picture':>10}{'all':>8}")
    for run in range(1, given.runs + 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
            commands = (
                [sys.executable, "-m", "venv", str(folder / "env")],
                [str(programs / "python"), "-m", "pip", "install", "--quiet", f"{given.wheel.resolve()}[cpu]"],
                [str(programs / "onnxplain"), "explain", "--quiet"],
            )
            surroundings = {**os.environ, "ONNXPLAIN_CACHE": str(folder / "cache")}
            times = []
            for command in commands:
                begin = time.perf_counter()
                subprocess.run(command, check=True, cwd=folder, env=surroundings, stderr=subprocess.DEVNULL)
                times.append(time.perf_counter() - begin)
            environment, install, picture = times
            print(f"run {run:<4}{environment:14.1f}{install:10.1f}{picture:10.1f}{sum(times):8.1f}", flush=True)


if __name__ == "__main__":
    main()
