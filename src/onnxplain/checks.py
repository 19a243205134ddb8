"""Checks of options that several rooms have."""

from __future__ import annotations

from numbers import Integral

from .errors import InputError


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return ``value``, a whole number that is not below ``least``.

    Raises:
        InputError: it is not; the message begins with ``name``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} is a whole number, {least} or more; found {value!r}.")
    return int(value)
