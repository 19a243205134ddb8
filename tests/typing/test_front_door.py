"""Types at the front door: what mypy makes of them, and that none of them is Any."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import onnxplain

from support import REPOSITORY


@pytest.mark.slow
def test_mypy_agrees() -> None:
    pytest.importorskip("mypy")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", Path(__file__).with_name("front_door.py")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def public() -> Iterator[tuple[str, object]]:
    """Every public function and method, by its name."""
    for name in onnxplain.__all__:
        value = getattr(onnxplain, name)
        if isinstance(value, ModuleType):
            continue
        yield name, value
        if isinstance(value, type) and value.__module__.startswith("onnxplain"):
            members = {key: member for base in value.__mro__[::-1] for key, member in vars(base).items()}
            yield from ((f"{name}.{key}", member) for key, member in members.items() if key[0] != "_")


def returned(value: object) -> str | None:
    """The annotation of what a function, method or property returns."""
    inner = getattr(value, "fget", None) or getattr(value, "func", None) or getattr(value, "__func__", None) or value
    return inspect.get_annotations(inner).get("return") if inspect.isfunction(inner) else None


def is_any(annotation: str) -> bool:
    """Whether a type is Any, or a union or a collection of it; arrays and plain values for JSON are not."""
    return _vague(ast.parse(annotation, mode="eval").body)


def _vague(node: ast.expr) -> bool:
    if isinstance(node, ast.Subscript):
        of, parts = ast.unparse(node.value), node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        json = of in {"dict", "Mapping"} and ast.unparse(parts[0]) == "str"
        return not (json or of.startswith(("NDArray", "np."))) and any(map(_vague, parts))
    if isinstance(node, ast.BinOp):
        return _vague(node.left) or _vague(node.right)
    return ast.unparse(node) in {"Any", "object"}


@pytest.mark.parametrize(
    ("annotation", "vague"),
    [
        ("Any", True),
        ("Iterator[Any]", True),
        ("int | list[Any]", True),
        ("NDArray[Any]", False),
        ("dict[str, Any]", False),
        ("dict[str, NDArray[np.floating[Any]]]", False),
        ("Explanation | None", False),
    ],
)
def test_any_is_found(annotation: str, vague: bool) -> None:
    assert is_any(annotation) == vague


def test_no_public_function_returns_any() -> None:
    found = {name: returned(value) for name, value in public()}
    assert len(found) > 60 and found["Explainer.scores"] and found["Explainer.preprocessing"]
    assert [name for name, annotation in found.items() if annotation is not None and is_any(annotation)] == []


def test_no_public_parameter_is_any() -> None:
    vague = []
    for name, value in public():
        inner = value.__init__ if isinstance(value, type) else getattr(value, "__func__", value)  # type: ignore[misc]
        if inspect.isfunction(inner):
            for one in inspect.signature(inner).parameters.values():
                if one.kind is not one.VAR_KEYWORD and isinstance(one.annotation, str) and is_any(one.annotation):
                    vague.append(f"{name}({one.name})")
    assert vague == []
