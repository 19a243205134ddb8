"""What tells two models, or two rules, apart: names that the keys of the cache are made of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..checks import check_file
from ..errors import ModelError
from ..runtime.fingerprint import file_digest

if TYPE_CHECKING:
    from ..autodiff.graph.io import ModelSource


def content_of(source: ModelSource) -> str | None:
    """SHA-256 of a model; None of an onnx_ir.Model, of a proto too large to be bytes, or without such a file.

    Raises:
        ModelError: there is no such file.
    """
    if isinstance(source, (str, os.PathLike)):
        check_file(source, ModelError)
        with suppress(OSError):
            return file_digest(source)
        return None
    if isinstance(source, (bytes, bytearray, memoryview)):
        return hashlib.sha256(source).hexdigest()
    serialize = getattr(source, "SerializeToString", None)  # an onnx_ir.Model has none
    with suppress(Exception):  # protobuf's error for messages over 2 GB is a ValueError or an EncodeError
        return None if serialize is None else hashlib.sha256(serialize(deterministic=True)).hexdigest()
    return None


def name_of(rule: Callable[..., Any]) -> str | None:
    """Return the name of a rule of this package; None for one whose code may be anything."""
    module, name = getattr(rule, "__module__", ""), getattr(rule, "__qualname__", "<locals>")
    package = __name__.partition(".")[0]
    return None if module.partition(".")[0] != package or "<locals>" in name else f"{module}.{name}"
