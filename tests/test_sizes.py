"""Files and functions that a reader can hold in the head."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support import REPOSITORY

PACKAGE = REPOSITORY / "src" / "onnxplain"
FILES = sorted(PACKAGE.rglob("*.py"))
LINES_OF_A_FILE, LINES, BRANCHES = 400, 60, 20
_BRANCHES = (ast.If, ast.For, ast.While, ast.IfExp, ast.ExceptHandler, ast.BoolOp, ast.comprehension, ast.match_case)


def too_large(source: str) -> list[str]:
    """The functions of a module that are too long, docstrings apart, or branch too often, without saying why."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.end_lineno is None:
            continue
        doc, first = ast.get_docstring(node) or "", node.body[0]
        described = (first.end_lineno or 0) - first.lineno + 1 if doc else 0
        lines = node.end_lineno - node.lineno + 1 - described
        branches = sum(isinstance(inner, _BRANCHES) for inner in ast.walk(node))
        if lines > LINES and "onger than 60 lines" not in doc:
            found.append(f"{node.name}: {lines} lines")
        if branches > BRANCHES and "ore than 20 branches" not in doc:
            found.append(f"{node.name}: {branches} branches")
    return found


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(PACKAGE).as_posix() for path in FILES])
def test_files_and_functions_are_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= LINES_OF_A_FILE
    assert too_large(source) == []


def test_what_is_too_large_is_found() -> None:
    long = "def f():\n" + "    x = 1\n" * 60
    branched = "def f(x):\n" + "    x = 1 if x else 2\n" * 21
    assert too_large(long) == ["f: 61 lines"]
    assert too_large(branched) == ["f: 21 branches"]
    assert too_large('def f():\n    """Longer than 60 lines by its table."""\n' + "    x = 1\n" * 60) == []
    assert too_large('def f():\n    """' + "words\n" * 70 + '"""\n    x = 1\n') == []
