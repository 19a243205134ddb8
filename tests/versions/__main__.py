"""``python -m versions``: build the package from source in new environments, and try it in each.

``--python`` names interpreters (repeatable; default: python3.10 to python3.14, those that are there), ``--lowest`` adds
one environment with the lowest version of every dependency that pyproject.toml declares.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHONS = [f"python3.{minor}" for minor in range(10, 15)]


def lowest() -> list[str]:
    """The lowest versions of what the package and its extra ``cpu`` need, as constraints of pip."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    return [re.sub(r">=([\d.]+).*", r"==\1", line) for line in declared]


def smoke(python: str, constraints: list[str]) -> bool:
    """Install the package from source in a new environment of ``python``, and run the smoke test there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        limits = folder / "constraints.txt"
        limits.write_text("\n".join(constraints), encoding="utf-8")
        own = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        for command in (
            [python, "-m", "venv", str(folder / "environment")],
            [str(own), "-m", "pip", "install", "-q", "-c", str(limits), f"{REPOSITORY}[cpu]"],
            [str(own), str(Path(__file__).with_name("smoke.py"))],
        ):
            if subprocess.run(command, cwd=folder, check=False).returncode:
                print(f"{python}: {' '.join(command)} failed", file=sys.stderr, flush=True)
                return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m versions", description=__doc__)
    parser.add_argument("--python", action="append", help="an interpreter, by its name or path")
    parser.add_argument("--lowest", action="store_true", help="also the lowest declared versions, in this Python")
    asked = parser.parse_args()
    there = asked.python or [name for name in PYTHONS if shutil.which(name)]
    for missing in [name for name in PYTHONS if not asked.python and name not in there]:
        print(f"{missing} is not there", flush=True)
    good = [smoke(python, []) for python in there]
    if asked.lowest:
        print(f"lowest: {', '.join(lowest())}", flush=True)
        good.append(smoke(sys.executable, lowest()))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
