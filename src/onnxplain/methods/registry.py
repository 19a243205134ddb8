"""The table of methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from ..errors import InputError
from .base import Method

Kind = TypeVar("Kind", bound=type[Method])

#: Name -> method, in the order in which they are listed; :func:`register_method` adds to it.
METHODS: dict[str, type[Method]] = {}


def register_method(kind: Kind) -> Kind:
    """Make a method known by its ``name``, so that ``explain(photo, method="name")`` finds it; a decorator.

    Raises:
        InputError: it is no dataclass made of :class:`~.base.Method`, or has no name, or that of another method.
    """
    if not (isinstance(kind, type) and issubclass(kind, Method) and is_dataclass(kind)):
        raise InputError(f"a method is a dataclass made of onnxplain.methods.Method; found {kind!r}.")
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not name:
        raise InputError(f"{kind.__name__} has no name; set the class variable name to what users are to call it.")
    if METHODS.get(name, kind) is not kind:
        raise InputError(f"there is a method {name!r} already, {METHODS[name].__name__}; choose another name.")
    METHODS[name] = kind
    return kind


def find_method(method: str | Method, options: Mapping[str, Any]) -> Method:
    """Return the method of a name with ``options``, or ``method`` itself if it is one.

    Raises:
        InputError: no such method, or it has no such option; the message lists those that exist.
    """
    if isinstance(method, Method):
        if options:
            raise InputError(f"options ({', '.join(options)}) belong to a method's name, or into the method itself.")
        return method
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown; there are {', '.join(METHODS)}.")
    kind = METHODS[method]
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            there = f"its options are {', '.join(known)}" if known else "it has none"
            raise InputError(f"method {method!r} has no option {name!r}; {there}.")
    return kind(**options)
