"""The methods of ``--method`` and their options of ``--set``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..methods import Method


def chosen_methods(names: str, settings: Sequence[str]) -> list[Method]:
    """Return the methods of ``--method``, with the options of ``--set``: of several, each option names its method.

    Raises:
        InputError: no such method, or it has no such option.
    """
    from ..methods import find_method

    listed = list(dict.fromkeys(name.strip() for name in names.split(",")))
    options: dict[str, dict[str, Any]] = {name: {} for name in listed}
    for name, value in _options(settings).items():
        method, separator, option = name.rpartition(".")
        if not separator and len(listed) == 1:
            method = listed[0]
        if method not in options:
            raise typer.BadParameter(
                f"--set {name}: with several methods say METHOD.NAME=VALUE, of {', '.join(listed)}."
            )
        options[method][option] = value
    return [find_method(name, chosen) for name, chosen in options.items()]


def _options(settings: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs, each value as JSON where it is some, else as text."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"--set takes NAME=VALUE, found {setting!r}.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
        except RecursionError:
            raise typer.BadParameter(f"--set {name}: the value is nested too deeply.") from None
    return found
