"""One dialect: error messages end with a full stop, docstrings list what is raised in a section."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import REPOSITORY

PACKAGE = REPOSITORY / "src" / "onnxplain"
FILES = sorted(PACKAGE.rglob("*.py"))


def unfinished(source: str) -> list[int]:
    """Return the lines of errors whose message does not end with a full stop; one that ends with another error may."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error") and node.args
        for message in messages(node.args[0])
        if not finished(message)
    ]


def messages(argument: ast.expr) -> Iterator[ast.expr]:
    """Yield the texts that an argument may be."""
    if isinstance(argument, ast.IfExp):
        yield from messages(argument.body)
        yield from messages(argument.orelse)
    elif isinstance(argument, ast.JoinedStr) or (
        isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ):
        yield argument


def finished(message: ast.expr) -> bool:
    """Return whether a text ends with a full stop, or with the words of an error that it passes on."""
    last = message.values[-1] if isinstance(message, ast.JoinedStr) else message
    if isinstance(last, ast.FormattedValue):
        return any(isinstance(node, ast.Name) and node.id == "error" for node in ast.walk(last.value))
    return isinstance(last, ast.Constant) and str(last.value).endswith(".")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_messages_end_with_a_full_stop(path: Path) -> None:
    assert unfinished(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_is_raised_has_a_section(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    assert [text for text in texts if "aises :class:" in text] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("raise InputError('no photo')", [1]),
        ("raise InputError('no photo.')", []),
        ("raise InputError(f'no {photo}')", [1]),
        ("raise InputError(f'no {photo}.')", []),
        ("raise InputError(f'{photo}: {error}')", []),
        ("raise InputError('a.' if x else 'b')", [1]),
        ("raise InputError(\n    'long '\n    'text'\n)", [1]),
        ("return InputError('no photo')", [1]),
        ("raise node.refuse('mode', mode, 'use another')", []),
        ("raise InputError(f'{photo}: {first_line(error)}')", []),
        ("raise outcome", []),
        ("raise KeyError(name)", []),
    ],
)
def test_a_message_without_one_is_found(source: str, found: list[int]) -> None:
    assert unfinished(source) == found
