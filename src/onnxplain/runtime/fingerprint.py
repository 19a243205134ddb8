"""What a prepared model depends on: the model, the software that prepares it, and the processor."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import native
from .._version import __version__
from .providers import import_runtime

_PACKAGE = Path(__file__).resolve().parent.parent
_CHUNK = 1 << 20


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def software() -> list[str]:
    """Versions of what differentiates a model and of ONNX Runtime, which optimises it."""
    runtime = import_runtime()
    built = runtime.get_build_info() if hasattr(runtime, "get_build_info") else ""
    return [*differentiating(), runtime.__version__, built]


@lru_cache(maxsize=1)
def differentiating() -> list[str]:
    """Versions of what differentiates a model, and the state of this package's own files."""
    return [__version__, _sources(), _version("onnx"), _version("onnx-ir")]


def versions(**runtime: str) -> dict[str, str]:
    """Return the versions of the packages that make a map, by their names; of a ``runtime`` other than ONNX Runtime."""
    return {
        "onnxplain": __version__,
        **(runtime or {"onnxruntime": import_runtime().__version__}),
        "onnx": _version("onnx"),
        "numpy": _version("numpy"),
    }


@lru_cache(maxsize=1)
def processor() -> list[str]:
    """Return what decides the memory layouts that ONNX Runtime chooses: the instruction sets of the processor."""
    return [platform.system(), platform.machine(), *native.available_instruction_sets(), _flags()]


def _sources() -> str:
    """Return the names, sizes and times of the package's modules: a checkout changes without a new version."""
    root = str(_PACKAGE)
    states, folders = [], [root]
    for folder in folders:  # which grows: pathlib takes five times as long, at every start
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    state = entry.stat()
                    states.append(f"{entry.path[len(root) :]} {state.st_size} {state.st_mtime_ns}")
                elif entry.is_dir() and entry.name != "__pycache__":
                    folders.append(entry.path)
    return hashlib.sha256("\n".join(sorted(states)).encode()).hexdigest()


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _flags() -> str:
    """Return the features that Linux lists; elsewhere the processor's name, which tells its family."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor()
