"""Who may import whom: the import rules of the design, read from the source text.

A room is a folder of the package, or a module at its top; the folders inside autodiff are rooms of their own. A new
room needs a line in ``MAY_IMPORT``. Imports for the type checker alone count like all others.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnxplain import errors

from support import REPOSITORY

PACKAGE = REPOSITORY / "src" / "onnxplain"

_GROUND = {
    "errors",
    "text",
    "checks",
    "_version",
    "signature",
    "target",
    "layout",
    "rtdetr",
    "files",
    "parquet",
    "progress",
    "native",
    "bundled",
}
_QUESTION = {"errors", "signature", "target", "layout"}
_AUTODIFF = {
    f"autodiff/{room}"
    for room in (
        "graph",
        "geometry",
        "photo",
        "reverse",
        "rules",
        "prepare",
        "targets",
        "forms",
        "request",
        "landmarks",
    )
} | {"autodiff"}
_ENGINES = {"runtime", "photos", "pictures"}
_MODEL = _GROUND | _AUTODIFF | _ENGINES | {"model"}
_METHODS = _MODEL | {"methods", "visualization", "metrics"}
_EXPLAINER = _METHODS | {"pipeline", "results", "explainer"}
_FRONTS = {"from_torch", "evaluation", "packages", "preprocessing"}

#: Room -> rooms that it may import, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "text": set(),
    "checks": {"errors"},
    "_version": set(),
    "signature": set(),
    "target": {"errors"},
    "rtdetr": set(),
    "layout": {"errors", "checks", "rtdetr"},
    "files": {"errors"},
    "parquet": {"checks", "errors"},
    "progress": {"errors"},
    "native": {"errors", "checks", "_native"},
    "native_reference": {"native"},
    "bundled": {"errors"},
    "autodiff/graph": {"errors", "checks", "signature"},
    "autodiff/geometry": {"errors", "autodiff/graph"},
    "autodiff/photo": {"errors", "autodiff/graph"},
    "autodiff/reverse": {"errors", "autodiff/graph"},
    "autodiff/rules": {"errors", "autodiff/graph", "autodiff/geometry", "autodiff/reverse"},
    "autodiff/prepare": {"errors", "autodiff/graph", "autodiff/reverse"},
    "autodiff/targets": {
        "errors",
        "signature",
        "target",
        "layout",
        "autodiff/graph",
        "autodiff/geometry",
        "autodiff/photo",
        "autodiff/reverse",
    },
    "autodiff/forms": {"errors", "autodiff/graph", "autodiff/geometry", "autodiff/reverse"},
    "autodiff/request": _QUESTION - {"signature"}
    | {"autodiff/graph", "autodiff/photo", "autodiff/reverse", "autodiff/forms"},
    "autodiff/landmarks": {
        "errors",
        "layout",
        "autodiff/request",
        "autodiff/graph",
        "autodiff/reverse",
        "autodiff/prepare",
        "autodiff/targets",
    },
    "autodiff": _QUESTION | {"files"} | _AUTODIFF,
    "runtime": _GROUND - {"bundled"},
    "photos": _GROUND - {"bundled"},
    "pictures": _GROUND - {"bundled"},
    "metrics": {"errors", "checks"},
    "model": _MODEL,
    "methods": _MODEL | {"metrics"},
    "visualization": _MODEL,
    "results": _MODEL | {"methods"},
    "pipeline": _METHODS | {"results"},
    "explainer": _EXPLAINER,
    "evaluation": _EXPLAINER,
    "packages": {"errors", "files"} | _AUTODIFF,
    "preprocessing": _QUESTION | _AUTODIFF | {"photos"},
    "from_torch": _GROUND | _AUTODIFF | {"runtime", "photos"},
    "extend": _METHODS,
    "__init__": _EXPLAINER | _FRONTS | {"extend", "bulk"},
    "bulk": _EXPLAINER,
    "page": _EXPLAINER | {"_version"},
    "serve": _EXPLAINER | {"__init__", "page"},
    "cli": _EXPLAINER | _FRONTS | {"__init__", "serve", "bulk", "page"},
    "__main__": {"cli"},
}

#: Public name of the package -> the room behind it. The bare package stands for all of them.
PUBLIC = {
    "": "__init__",
    "__version__": "_version",
    "differentiate": "autodiff",
    "differentiate_file": "autodiff",
    "vjp": "autodiff",
    "evaluate": "evaluation",
    "randomization_check": "evaluation",
    "Explainer": "explainer",
    "Explanation": "results",
    "Preprocessing": "photos",
    **{name: "errors" for name, value in vars(errors).items() if isinstance(value, type)},
}

#: Package from outside -> the only rooms that may import it.
ONLY_FOR = {
    "torch": {"from_torch"},
    "torchvision": set[str](),
    "onnxruntime": {"runtime"},
    "openvino": {"runtime"},
    "pyarrow": {"parquet"},
    "ray": {"bulk"},
}

#: Room -> the only packages from outside, besides the standard library, that it may import.
#: google.protobuf: what onnx's messages are made of; typing_extensions: by the type checker alone.
_GRAPHS = {"numpy", "onnx", "onnx_ir", "google", "typing_extensions"}
ONLY_NEEDS = {
    "errors": set[str](),
    "checks": set[str](),
    "_version": set[str](),
    "signature": set[str](),
    "files": set[str](),
    "parquet": {"pyarrow"},
    "native": {"numpy"},
    "metrics": {"numpy"},
    **dict.fromkeys(_AUTODIFF, _GRAPHS),
    "runtime": {"numpy", "onnx", "google", "onnxruntime", "openvino"},
}


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module below the package, whose name has these parts."""
    inner = f"autodiff/{parts[1]}" if len(parts) > 1 and parts[0] == "autodiff" else ""
    return inner if inner in _AUTODIFF else parts[0] if parts else "__init__"


def imported(path: Path, package: tuple[str, ...]) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of everything that a file imports, in functions too; the name "" for a whole module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            for alias in node.names:
                yield node.lineno, ".".join([*base, *([node.module] if node.module else [])]), alias.name
        elif isinstance(node, ast.Call) and node.args:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in {"import_module", "__import__"} and isinstance(node.args[0], ast.Constant):
                yield node.lineno, str(node.args[0].value), ""


def modules(folder: Path) -> dict[str, Path]:
    """Every module below a folder named onnxplain, by its name; a package by the name of its folder."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(["onnxplain", *(parts[:-1] if parts[-1] == "__init__" else parts)])] = path
    return found


def violations(folder: Path) -> list[str]:
    """Every import under a folder named onnxplain that breaks a rule, as ``file:line: reason``."""
    found = []
    for path in modules(folder).values():
        relative = path.relative_to(folder)
        where, parts = relative.as_posix(), relative.with_suffix("").parts
        room = room_of(parts)
        if room not in MAY_IMPORT:
            found.append(f"{where}: {room} has no line in MAY_IMPORT; state its layer there")
            continue
        for line, module, name in imported(path, ("onnxplain", *relative.parent.parts)):
            top, *rest = module.split(".")
            if top == "onnxplain":
                inside = [*rest, name] if name else rest
                target = PUBLIC.get(inside[0], "") if len(inside) == 1 else ""
                target = target or room_of(tuple(inside))
                if target not in MAY_IMPORT[room] | {room}:
                    found.append(f"{where}:{line}: {room} may not import {target}")
            elif top not in sys.stdlib_module_names:
                if room not in ONLY_FOR.get(top, {room}):
                    found.append(f"{where}:{line}: {room} may not import {top}")
                if top not in ONLY_NEEDS.get(room, {top}):
                    found.append(f"{where}:{line}: {room} may not import {top}, a package from outside")
    return found


def circles(folder: Path) -> list[set[str]]:
    """Groups of modules of which each imports, perhaps through others, every other one."""
    known = modules(folder)
    compiled = {f"onnxplain.{stub.stem}" for stub in folder.glob("*.pyi")}
    edges: dict[str, set[str]] = {}
    for module, path in known.items():
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        targets = {
            f"{base}.{name}" if f"{base}.{name}" in {*known, *compiled} else base
            for _, base, name in imported(path, tuple(package))
        }
        edges[module] = {target for target in targets if target in known and target != module}
    reach = {module: _reached(edges, module) for module in known}
    groups = [{other for other in reach[module] if module in reach[other]} for module in known]
    return [group for index, group in enumerate(groups) if len(group) > 1 and group not in groups[:index]]


def _reached(edges: dict[str, set[str]], start: str) -> set[str]:
    found, pending = {start}, [start]
    while pending:
        new = edges[pending.pop()] - found
        found |= new
        pending += new
    return found


def cpp_violations(folder: Path) -> list[str]:
    """C++ files other than bindings.cpp that include pybind11 or Python."""
    include = re.compile(r"^\s*#\s*include\s*[<\"](pybind11/|Python\.h|numpy/)", re.MULTILINE)
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in {".cpp", ".hpp", ".h", ".cc"}]
    return [path.name for path in files if path.name != "bindings.cpp" and include.search(path.read_text("utf-8"))]


def test_package_keeps_the_import_rules() -> None:
    assert violations(PACKAGE) == []


def test_no_modules_import_each_other() -> None:
    assert circles(PACKAGE) == []


def test_every_room_of_the_rules_exists() -> None:
    there = {room_of(path.relative_to(PACKAGE).with_suffix("").parts) for path in modules(PACKAGE).values()}
    assert set(MAY_IMPORT) <= there
    assert set().union(*MAY_IMPORT.values()) <= there | {"_native"}


def test_only_the_bindings_include_pybind11() -> None:
    assert (REPOSITORY / "cpp" / "bindings.cpp").is_file()
    assert cpp_violations(REPOSITORY / "cpp") == []


@pytest.mark.parametrize(
    ("file", "source", "reason"),
    [
        ("autodiff/reverse/walk.py", "import torch", "autodiff/reverse may not import torch"),
        (
            "autodiff/reverse/walk.py",
            "def f():\n    import onnxruntime",
            "walk.py:2: autodiff/reverse may not import onnxruntime",
        ),
        ("autodiff/rules/linear.py", "from ...photos import load", "autodiff/rules may not import photos"),
        ("autodiff/rules/linear.py", "from ..forms import prune", "autodiff/rules may not import autodiff/forms"),
        ("autodiff/rules/linear.py", "from .. import targets", "autodiff/rules may not import autodiff/targets"),
        ("autodiff/graph/emitter.py", "from ..reverse.walk import walk", "graph may not import autodiff/reverse"),
        ("autodiff/graph/emitter.py", "from ..differentiate import f", "autodiff/graph may not import autodiff"),
        ("autodiff/reverse/walk.py", "from onnxplain.runtime.session import Session", "may not import runtime"),
        ("autodiff/reverse/walk.py", "from onnxplain import native", "autodiff/reverse may not import native"),
        ("autodiff/reverse/walk.py", "import scipy.special", "autodiff/reverse may not import scipy"),
        ("runtime/session.py", "from ..photos import load", "runtime may not import photos"),
        ("photos/load.py", "from .. import autodiff", "photos may not import autodiff"),
        ("photos/load.py", "from ..pictures import render", "photos may not import pictures"),
        ("pictures/render.py", "from ..results.explanation import Explanation", "pictures may not import results"),
        (
            "photos/load.py",
            "import importlib\nimportlib.import_module('torch')",
            "load.py:2: photos may not import torch",
        ),
        ("photos/load.py", "from onnxplain import Explainer", "photos may not import explainer"),
        ("photos/load.py", "import onnxplain", "photos may not import __init__"),
        ("methods/maps.py", "from ..explainer import Explainer", "methods may not import explainer"),
        ("methods/maps.py", "from .._native import saliency", "methods may not import _native"),
        ("metrics/curves.py", "import onnx", "metrics may not import onnx"),
        ("explainer.py", "from . import cli", "explainer may not import cli"),
        ("explainer.py", "import onnxruntime as ort", "explainer may not import onnxruntime"),
        ("errors.py", "import numpy", "errors may not import numpy"),
        ("novelty.py", "", "novelty has no line in MAY_IMPORT"),
    ],
)
def test_violation_is_found(tmp_path: Path, file: str, source: str, reason: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    found = violations(tmp_path)
    assert found
    assert reason in found[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "autodiff/rules/linear.py",
            "import numpy as np\nfrom onnx import helper\nfrom ..graph import io\n",
        ),
        ("autodiff/reverse/walk.py", "from ...errors import ModelError\nfrom . import registry"),
        ("native.py", "from . import _native"),
        ("methods/maps.py", "from onnxplain import InputError, differentiate"),
        ("pictures/render.py", "from onnxplain import native\nfrom PIL import Image"),
        ("from_torch/export.py", "def f():\n    import torch"),
        ("cli/explain.py", "import onnxplain\nfrom onnxplain import Explainer, differentiate\nimport click"),
    ],
)
def test_allowed_import_passes(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    assert violations(tmp_path) == []


def test_circle_is_found(tmp_path: Path) -> None:
    sources = {
        "autodiff/graph/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import B\n",
        "autodiff/graph/b.py": "def f():\n    from ..graph import c\n",
        "autodiff/graph/c.py": "from .a import A\n",
        "autodiff/graph/d.py": "from .a import A\n",
    }
    for file, source in sources.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(source, encoding="utf-8")
    assert circles(tmp_path) == [{f"onnxplain.autodiff.graph.{name}" for name in "abc"}]


def test_cpp_violation_is_found(tmp_path: Path) -> None:
    (tmp_path / "bindings.cpp").write_text("#include <pybind11/numpy.h>\n", encoding="utf-8")
    (tmp_path / "saliency.cpp").write_text("#include <vector>\n#  include <pybind11/numpy.h>\n", encoding="utf-8")
    assert cpp_violations(tmp_path) == ["saliency.cpp"]
