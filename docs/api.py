"""Writes docs/api.txt: every public name and its signature, so that a change of one is seen in review.

python docs/api.py          # needs Python 3.11, the first that knows overloads when it runs
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import get_overloads

import onnxplain

FILE = Path(__file__).with_name("api.txt")
HEAD = "Public names and their signatures. Written by docs/api.py; a test compares.\n"


def text() -> str:
    """The content of the file."""
    return "\n".join([HEAD, *(line for name in onnxplain.__all__ for line in described("onnxplain", name, onnxplain))])


def described(prefix: str, name: str, owner: object) -> Iterator[str]:
    """The lines of a public name: of a module and a class, also those of all that is in it."""
    value, path = getattr(owner, name), f"{prefix}.{name}"
    if isinstance(value, ModuleType):
        yield f"module {path}\n"
        for inner in value.__all__:
            yield from described(path, inner, value)
    elif inspect.isclass(value):
        yield from _class(path, value)
    elif inspect.isfunction(value):
        yield from (f"{one}\n" for one in _signatures(path, value))
    elif not isinstance(value, str):
        yield f"{path}\n"


def _class(path: str, kind: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in kind.__bases__ if base is not object)
    lines = [f"class {path}({bases})" if bases else f"class {path}"]
    if kind.__module__.partition(".")[0] == "onnxplain":
        lines += [f"    {line}" for line in _members(kind)]
    yield "\n".join(lines) + "\n"


def _members(kind: type) -> Iterator[str]:
    own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == "onnxplain"]
    members = {name: member for base in own[::-1] for name, member in vars(base).items()}
    if is_dataclass(kind):
        for one in fields(kind):
            yield f"{one.name}: {one.type}" + ("" if one.default is MISSING else f" = {one.default!r}")
    elif inspect.isfunction(members.get("__init__")):
        yield from _signatures("__init__", members["__init__"])
    for name in sorted(members):
        member = members[name]
        inner = getattr(member, "fget", None) or getattr(member, "func", None)
        if name.startswith("_"):
            continue
        if inner is not None:
            yield f"{name}: {inspect.get_annotations(inner).get('return')}"
        elif inspect.isfunction(inspect.unwrap(getattr(member, "__func__", member))):
            kinds = {classmethod: "classmethod ", staticmethod: "staticmethod "}
            yield from (kinds.get(type(member), "") + one for one in _signatures(name, getattr(kind, name)))


def _signatures(name: str, function: object) -> list[str]:
    """The signature, or those of the overloads."""
    return [f"{name}{_bare(inspect.signature(one))}" for one in get_overloads(function) or [function]]


class _Text(str):
    """An annotation that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _bare(signature: inspect.Signature) -> inspect.Signature:
    parameters = [one.replace(annotation=_text(one.annotation)) for one in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=_text(signature.return_annotation))


def _text(annotation: object) -> object:
    return _Text(annotation) if isinstance(annotation, str) else annotation


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
