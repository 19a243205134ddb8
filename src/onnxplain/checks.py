"""Checks of options, files and texts that several rooms have."""

from __future__ import annotations

import ast
import os
import stat
from contextlib import suppress
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from .errors import InputError, OnnxplainError

#: Characters of a literal of Python's that is read: a long one takes 500 times its size in memory.
LONGEST_LITERAL = 1 << 20

#: Of anything that is counted, and of seeds: numbers in 64 bits.
_MOST = 2**63 - 1
_SHOWN = 80


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return ``value``, a whole number that is not below ``least``.

    Raises:
        InputError: it is not; the message begins with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= _MOST:
        raise InputError(f"{name} is a whole number, {least} or more; found {shown(value)}.")
    return int(value)


def check_number(name: str, value: object, least: float = -inf, most: float = inf) -> float:
    """Return ``value``, a finite number from ``least`` to ``most``.

    Raises:
        InputError: it is not; the message begins with ``name``.
    """
    with suppress(OverflowError):  # a whole number beyond all floats
        if isinstance(value, Real) and not isinstance(value, bool):
            number = float(value)
            if isfinite(number) and least <= number <= most:
                return number
    bounds = [f"{word} {bound:g}" for word, bound in (("from", least), ("to", most)) if isfinite(bound)]
    raise InputError(f"{' '.join([f'{name} is a finite number', *bounds])}; found {shown(value)}.")


def shown(value: object) -> str:
    """Return a value for a message; a whole number of many digits, or a long text, is cut short."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than some 4,000 digits
        return "a whole number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def install_hint(extra: str) -> str:
    """Return how to install an extra of this package, from an index and from a checkout, for a message."""
    return f'python -m pip install "onnxplain[{extra}]" (in a checkout: python -m pip install ".[{extra}]")'


def check_unmasked(name: str, value: Any) -> None:
    """Refuse an array of ``numpy.ma`` of which elements are masked.

    Raises:
        InputError: the message begins with ``name``.
    """
    mask = getattr(value, "mask", None) if hasattr(value, "filled") else None
    count = 0 if mask is None else int(getattr(mask, "sum", int)())
    if count:
        raise InputError(
            f"{name} is a masked array with {count} masked elements, which have no value; "
            "say what they are with x.filled(value)."
        )


def check_file(path: str | os.PathLike[str], kind: type[OnnxplainError]) -> None:
    """Refuse what is no file that ends: a pipe, a socket or a device. Nothing at ``path`` is no concern of this.

    Raises:
        OnnxplainError: of the ``kind`` given.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise kind(f"{os.fspath(path)} is a pipe, a socket or a device, which may never end; copy it to a file.")


def read_literal(text: str) -> Any:
    """Return what ``text`` says as Python writes lists, dicts, numbers and words.

    Raises:
        ValueError: it says nothing, or is too long.
    """
    if len(text) > LONGEST_LITERAL:
        raise ValueError(f"{len(text)} characters are more than the limit of {LONGEST_LITERAL}.")
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"it cannot be read: {type(error).__name__}.") from error
