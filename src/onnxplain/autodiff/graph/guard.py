"""The guard at the door: what code stumbles over in a malformed model becomes an error that names the place.

Most mistakes in a file are refused where they are read, in words of their own. Of the others (an attribute of the wrong
kind, a missing input, an axis that does not exist) the guard says which node was at work, and which attribute: it looks
for them in the frames of the traceback, from the innermost on. The cause stays with the error. That what it caught is a
mistake of the file, and not one of this package, nobody knows: the message says so, and ``tests/fuzz`` counts it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

import onnx
import onnx_ir as ir

from ...errors import ModelError, OnnxplainError
from .operator import Operator
from .passes import BrokenGraphError

_LONGEST = 200
#: Whose errors a malformed model can cause; an error in code of anybody else, such as a user's rule, is left alone.
_OURS = {
    __name__.partition(".")[0],
    "onnx",
    "onnx_ir",
    "numpy",
    "google",
    "ml_dtypes",
    "sympy",
    *sys.stdlib_module_names,
}


class NotUnderstoodError(ModelError):
    """Code stumbled over a model; the cause is what it stumbled over."""


@contextmanager
def guarded() -> Iterator[None]:
    """Turn what is raised inside, and is no error that was meant, into a :class:`NotUnderstoodError`.

    Raises:
        NotUnderstoodError: with the node, the attribute and the cause; or the model needs more memory than there is.
    """
    try:
        yield
    except (OnnxplainError, BrokenGraphError):
        raise
    except MemoryError as error:
        message = f"the model needs more memory than this process may have{_at(error)}: {_text(error)}"
        raise NotUnderstoodError(message) from error
    except Exception as error:
        frames = _frames(error.__traceback__)
        if any(_package(frame) not in _OURS for frame in frames):
            raise
        raise NotUnderstoodError(
            f"the model cannot be understood{_at(error)}: {type(error).__name__}: {_text(error)} It may be malformed: "
            "ask onnx.checker.check_model; if that finds nothing, please report this."
        ) from error


def _frames(traceback: TracebackType | None) -> list[FrameType]:
    """The frames inside of the guard, the innermost first."""
    found: list[FrameType] = []
    while traceback is not None:
        found.insert(0, traceback.tb_frame)
        traceback = traceback.tb_next
    return found


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _at(error: BaseException) -> str:
    """Which node was at work, and which attribute of it; "" if none was."""
    attribute = ""
    for frame in _frames(error.__traceback__):
        values = list(frame.f_locals.values())
        if not attribute:
            names = [v.name for v in values if isinstance(v, (ir.Attr, onnx.AttributeProto))]
            attribute = f", attribute {names[0]!r}" if names else ""
        for value in (frame.f_locals.get("node"), *values):
            node = value.node if isinstance(value, Operator) else value
            if isinstance(node, (ir.Node, onnx.NodeProto)):
                if not attribute and isinstance(error, KeyError) and error.args:
                    attribute = f", attribute {error.args[0]!r}"
                return f" at the {node.op_type} node {node.name!r}{attribute}"
    return ""


def _text(error: BaseException) -> str:
    """The first line of what an error says, as a sentence."""
    lines = str(error.__cause__ or error).strip().splitlines() or ["no more is known"]
    return f"{lines[0][:_LONGEST].rstrip('.')}."
