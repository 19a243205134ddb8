"""The compiled operators: where they are, and whether this process uses them.

Environment: ``ONNXPLAIN_OPERATORS`` set to ``off`` (``0``, ``no``, ``false``) turns them off.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path

from ..providers import import_runtime

#: The operators' domain in a model.
DOMAIN = "onnxplain.operators"
_VARIABLE = "ONNXPLAIN_OPERATORS"
_OFF = ("0", "off", "false", "no")
_NAME = "onnxplain_operators.dll" if sys.platform == "win32" else "libonnxplain_operators.so"


def library() -> Path | None:
    """Return the file of the operators; None where they are turned off, were not built, or do not load."""
    if os.environ.get(_VARIABLE, "").strip().lower() in _OFF:
        return None
    return _loadable(Path(__file__).resolve().parents[2] / _NAME)


def state() -> list[str]:
    """Return what tells one build of the operators from another, or from none."""
    file = library()
    if file is None:
        return ["no operators"]
    found = file.stat()
    return [file.name, str(found.st_size), str(found.st_mtime_ns)]


@lru_cache(maxsize=4)
def _loadable(file: Path) -> Path | None:
    """Return the file if ONNX Runtime takes it."""
    if not file.is_file():
        return None
    try:
        import_runtime().SessionOptions().register_custom_ops_library(str(file))
    except Exception:  # ONNX Runtime's exceptions share no base class
        return None
    return file
