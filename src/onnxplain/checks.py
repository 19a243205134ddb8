"""Checks of options that several rooms have."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from .errors import InputError


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return ``value``, a whole number that is not below ``least``.

    Raises:
        InputError: it is not; the message begins with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} is a whole number, {least} or more; found {value!r}.")
    return int(value)


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
