"""Commands of click from functions: a parameter's annotation says how it stands on the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import click

from .helping import HelpfulArgument, HelpfulCommand, examples, metavar_of

#: How click reads a value; what it reads anew are paths.
_KINDS: dict[type, Any] = {Path: click.Path(path_type=Path)}


class Option:
    """In ``Annotated[type, Option(...)]``: an option, its names and what its help says.

    A ``bool`` is a flag, a ``list`` an option that may be repeated. ``callback`` takes the value, refuses it or returns
    it, or another. Without names an option is called as its parameter is.
    """

    def __init__(
        self,
        *names: str,
        help: str,
        metavar: str | None = None,
        callback: Callable[[Any], Any] | None = None,
        is_eager: bool = False,
    ) -> None:
        self.names, self.metavar, self.callback = names, metavar, callback
        self.shown: dict[str, Any] = {"help": help, "is_eager": is_eager}

    def parameter(self, name: str, kind: type, several: bool, default: Any) -> click.Parameter:
        """Return the option of click for the parameter ``name``, whose values are of ``kind``."""
        names = self.names or (f"--{name.replace('_', '-')}",)
        if kind is bool:
            taken: dict[str, Any] = {"is_flag": True}
        else:
            taken = {"type": _KINDS.get(kind, kind), "metavar": self.metavar or metavar_of(name), "multiple": several}
        required = default is inspect.Parameter.empty
        return click.Option([*names, name], required=required, **taken, **self.shown, **_default(default, several))


class Argument:
    """In ``Annotated[type, Argument(...)]``: an argument; a ``list`` takes all that are left."""

    callback: Callable[[Any], Any] | None = None

    def __init__(self, *, help: str, metavar: str | None = None) -> None:
        self.help, self.metavar = help, metavar

    def parameter(self, name: str, kind: type, several: bool, default: Any) -> click.Parameter:
        """Return the argument of click for the parameter ``name``, whose values are of ``kind``."""
        required = default is inspect.Parameter.empty
        shown = (name.upper() if required else f"[{name.upper()}]") + ("..." if several else "")
        taken: dict[str, Any] = {
            "type": _KINDS.get(kind, kind),
            "nargs": -1 if several else 1,
            "required": required,
            "metavar": self.metavar or shown,
        }
        return HelpfulArgument([name], help=self.help, **taken, **_default(default, several))


def command(name: str, function: Callable[..., None]) -> click.Command:
    """Return the command ``name``: its parameters from the signature of ``function``, its help from the docstring."""
    words = inspect.cleandoc(function.__doc__ or "")
    return HelpfulCommand(
        name,
        params=parameters_of(function),
        callback=function,
        help=words,
        short_help=" ".join(words.partition("\n\n")[0].split()),
        epilog=examples(name),
    )


def parameters_of(function: Callable[..., None]) -> list[click.Parameter]:
    """Return a parameter of click for each parameter of ``function``, all of which are annotated."""
    return [_parameter(one) for one in inspect.signature(function, eval_str=True).parameters.values()]


def _parameter(one: inspect.Parameter) -> click.Parameter:
    annotation, stated = get_args(one.annotation)
    if get_origin(annotation) is UnionType:
        [annotation] = [part for part in get_args(annotation) if part is not NoneType]
    several = get_origin(annotation) is list
    kind = get_args(annotation)[0] if several else annotation
    made: click.Parameter = stated.parameter(one.name, kind, several, one.default)
    made.callback = lambda context, parameter, value: _value(value, several, stated.callback)
    return made


def _value(value: Any, several: bool, callback: Callable[[Any], Any] | None) -> Any:
    """What a command receives: a list or None where click has a tuple."""
    if several:
        value = list(value) if value else None
    return value if callback is None else callback(value)


def _default(default: Any, several: bool) -> dict[str, Any]:
    return {} if default is inspect.Parameter.empty or several else {"default": default}
