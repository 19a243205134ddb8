"""The operators in the oldest and the newest supported ONNX Runtime, each in an environment of its own.

    cd tests && python -m runtime.operators.versions                # the oldest and the newest
    cd tests && python -m runtime.operators.versions "==1.26.*"     # others

makes the environments that are missing in the folder ``ONNXPLAIN_RUNTIMES``, by default
``~/.cache/onnxplain-runtimes``, with whatever tests need, and runs the operators' tests in each. A release is looked up
once: to try one that is newer, delete its folder. The library is not built again: the one of the checkout has to run in
all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("ONNXPLAIN_RUNTIMES", Path.home() / ".cache" / "onnxplain-runtimes"))
TESTS = "tests/runtime/operators"


def supported() -> tuple[str, str]:
    """Return what pip takes for the oldest and the newest release that pyproject.toml allows.

    Raises:
        ValueError: it states no lower bound.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (stated,) = project["optional-dependencies"]["cpu"]
    found = re.fullmatch(r"onnxruntime>=(\d+\.\d+)(,.*)?", stated)
    if found is None:
        raise ValueError(f"pyproject.toml should state onnxruntime>=MAJOR.MINOR; found {stated!r}.")
    return f"=={found[1]}.*", stated.removeprefix("onnxruntime")


def environment(version: str) -> Path:
    """Return the interpreter of an environment with this version, made if it is missing.

    Raises:
        subprocess.CalledProcessError: it cannot be made.
    """
    folder = FOLDER / ("onnxruntime" + re.sub(r"[^0-9.]+", "_", version))
    python, made = folder / "bin" / "python", folder / "made"
    if not made.is_file():
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        packages = [f"onnxruntime{version}", *project["dependencies"], "pytest", "hypothesis"]
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        made.touch()
    return python


def main(versions: list[str]) -> int:
    """Run the tests in each; return 1 if some fail."""
    failed = False
    for version in versions or supported():
        python = str(environment(version))
        subprocess.run([python, "-c", "import onnxruntime; print('ONNX Runtime', onnxruntime.__version__, flush=True)"])
        settings = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS]
        failed |= subprocess.run(command, cwd=ROOT, env=settings).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
