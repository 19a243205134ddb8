"""Virtual environments of their own, for packages that do not go into the one that the tests run in.

``python -m support.environments NAME REQUIREMENT...`` (in ``tests``) makes one by hand and prints its Python.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnxplain

#: The environment variable that names another folder for them.
FOLDER = "ONNXPLAIN_TEST_ENVIRONMENTS"
_SECONDS = 900


def folder() -> Path:
    """Where environments are kept: outside of the repository."""
    return Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "onnxplain-test-environments")


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of the environment with these requirements; it is made where it is missing or unfinished.

    The folder is named after the requirements and this Python's version, so that a change of either makes another.
    """
    wanted = "\n".join([sys.version, *sorted(requirements)])
    place = folder() / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python, finished = place / "bin" / "python", place / "finished"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=_SECONDS)
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
            subprocess.run(install, check=True, timeout=_SECONDS)
            finished.write_text(wanted, encoding="utf-8")
    return python


def path_of_the_package(place: Path) -> str:
    """Return a PYTHONPATH for such an environment: the package under test alone, linked to in ``place``."""
    link = place / "onnxplain"
    if not link.exists():
        link.symlink_to(Path(onnxplain.__file__).parent, target_is_directory=True)
    return str(place)


if __name__ == "__main__":
    print(environment(sys.argv[1], sys.argv[2:]))
