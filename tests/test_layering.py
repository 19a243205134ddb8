"""Who may import whom: the import rules of the design, read from the source text.

A new module of the package needs a line in ``MAY_IMPORT``; files inside a folder belong to the folder.
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

_BASIS = {"errors", "_version", "signature"}
_TOOLS = _BASIS | {"native", "progress"}
_PARTS = _TOOLS | {"autodiff", "runtime", "image"}
_METHODS = _PARTS | {"methods", "metrics"}
_EXPLAINER = _METHODS | {
    "bench",
    "attributions",
    "bundled",
    "explainer",
    "explaining",
    "explanation",
    "features",
    "grids",
    "html_report",
    "inputs",
    "photos",
    "torch_export",
    "torch_reference",
}
_FRONTS = {"cli", "serve", "ray"}

# Component of the package (module, or folder) -> components it may import, besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "signature": set(),
    "progress": _BASIS,
    "native": _BASIS | {"_native"},
    "numpy_twins": _BASIS | {"native"},
    "autodiff": _BASIS,
    "runtime": _TOOLS,
    "image": _TOOLS,
    "methods": _PARTS | {"metrics"},
    "metrics": _PARTS,
    "bundled": _TOOLS,
    "inputs": _METHODS,
    "photos": _PARTS,
    "explaining": _METHODS | {"attributions", "explanation", "photos"},
    "torch_export": _PARTS | {"torch_reference"},
    "torch_reference": _PARTS,
    "explanation": _METHODS,
    "attributions": _METHODS,
    "features": _METHODS | {"attributions", "inputs"},
    "grids": _METHODS | {"explanation"},
    "html_report": _METHODS | {"explanation", "grids"},
    "explainer": _EXPLAINER - {"bench"},
    "bench": _EXPLAINER,
    "evaluation": _EXPLAINER,
    "__init__": _EXPLAINER | {"evaluation"},
    "__main__": _FRONTS,
    "cli": _EXPLAINER | _FRONTS | {"__init__", "evaluation"},
    "serve": _EXPLAINER | {"__init__"},
    "ray": _EXPLAINER | {"__init__"},
}

# Public name of the package -> the component behind it. The bare package stands for all of them.
PUBLIC = {
    "": "__init__",
    "__version__": "_version",
    "differentiate": "autodiff",
    "differentiate_file": "autodiff",
    "vjp": "autodiff",
    "evaluate": "evaluation",
    "randomization_check": "evaluation",
    "Evaluation": "evaluation",
    "RandomizationCheck": "evaluation",
    "Explainer": "explainer",
    "TorchExport": "torch_export",
    "export_torch": "torch_export",
    "Explanation": "explainer",
    "TableExplanation": "features",
    "TokenExplanation": "features",
    "Preprocessing": "image",
    "ClassVisualization": "methods",
    "clear_cache": "runtime",
    "grid": "grids",
    "report": "html_report",
    **{name: "errors" for name, value in vars(errors).items() if isinstance(value, type)},
}

# Package from outside -> the only components that may import it.
ONLY_FOR = {"torch": {"torch_export", "torch_reference"}, "torchvision": set[str](), "onnxruntime": {"runtime"}}

# Component -> the only packages from outside, besides the standard library, that it may import.
ONLY_NEEDS = {
    "errors": set[str](),
    "_version": set[str](),
    "signature": set[str](),
    "native": {"numpy"},
    # google.protobuf: what onnx's messages are made of; typing_extensions: by the type checker alone.
    "autodiff": {"numpy", "onnx", "onnx_ir", "google", "typing_extensions"},
    "runtime": {"numpy", "onnx", "onnxruntime"},
}


def imported_modules(path: Path, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything that a file imports, in functions too, and by literal name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "onnxplain":
                for alias in node.names:
                    yield node.lineno, f"onnxplain.{alias.name}"
            else:
                yield node.lineno, module
        elif isinstance(node, ast.Call) and node.args:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = node.args[0]
            if function in {"import_module", "__import__"} and isinstance(name, ast.Constant):
                yield node.lineno, str(name.value)


def python_violations(package_folder: Path) -> list[str]:
    """Every import under a folder named onnxplain that breaks a rule, as ``file:line: reason``."""
    found = []
    for path in sorted(package_folder.rglob("*.py")):
        relative = path.relative_to(package_folder)
        component = relative.parts[0].removesuffix(".py")
        where = relative.as_posix()
        if component not in MAY_IMPORT:
            found.append(f"{where}: {component} has no line in MAY_IMPORT; state its layer there")
            continue
        for line, name in imported_modules(path, ("onnxplain", *relative.parent.parts)):
            top, _, rest = name.partition(".")
            if top == "onnxplain":
                target = PUBLIC.get(rest, rest.split(".")[0])
                if target not in MAY_IMPORT[component] | {component}:
                    found.append(f"{where}:{line}: {component} may not import {target}")
            elif top not in sys.stdlib_module_names:
                if component not in ONLY_FOR.get(top, {component}):
                    found.append(f"{where}:{line}: {component} may not import {top}")
                if top not in ONLY_NEEDS.get(component, {top}):
                    found.append(f"{where}:{line}: {component} may not import {top}, a package from outside")
    return found


def cpp_violations(folder: Path) -> list[str]:
    """C++ files other than bindings.cpp that include pybind11 or Python."""
    include = re.compile(r"^\s*#\s*include\s*[<\"](pybind11/|Python\.h|numpy/)", re.MULTILINE)
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in {".cpp", ".hpp", ".h", ".cc"}]
    return [path.name for path in files if path.name != "bindings.cpp" and include.search(path.read_text("utf-8"))]


def test_package_keeps_the_import_rules() -> None:
    assert python_violations(REPOSITORY / "src" / "onnxplain") == []


def test_only_the_bindings_include_pybind11() -> None:
    assert (REPOSITORY / "cpp" / "bindings.cpp").is_file()
    assert cpp_violations(REPOSITORY / "cpp") == []


@pytest.mark.parametrize(
    ("file", "source", "reason"),
    [
        ("autodiff/reverse/walk.py", "import torch", "autodiff may not import torch"),
        (
            "autodiff/reverse/walk.py",
            "def f():\n    import onnxruntime",
            "walk.py:2: autodiff may not import onnxruntime",
        ),
        ("autodiff/rules/linear.py", "from ...image import load", "autodiff may not import image"),
        (
            "autodiff/reverse/walk.py",
            "from onnxplain.runtime.session import Session",
            "autodiff may not import runtime",
        ),
        ("autodiff/reverse/walk.py", "from onnxplain import native", "autodiff may not import native"),
        ("autodiff/reverse/walk.py", "import scipy.special", "autodiff may not import scipy"),
        ("runtime/session.py", "from ..image import load", "runtime may not import image"),
        ("photos/load.py", "from .. import autodiff", "image may not import autodiff"),
        (
            "photos/load.py",
            "import importlib\nimportlib.import_module('torch')",
            "load.py:2: image may not import torch",
        ),
        ("photos/load.py", "from onnxplain import Explainer", "image may not import explainer"),
        ("photos/load.py", "import onnxplain", "image may not import __init__"),
        ("methods/maps.py", "from ..explainer import Explainer", "methods may not import explainer"),
        ("methods/maps.py", "from .._native import saliency", "methods may not import _native"),
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
    violations = python_violations(tmp_path)
    assert violations
    assert reason in violations[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("autodiff/rules/linear.py", "import math\nimport numpy as np\nfrom onnx import helper\nfrom ..walk import f"),
        ("autodiff/reverse/walk.py", "from ..errors import ModelError\nfrom . import emitter"),
        ("native.py", "from . import _native"),
        ("methods/maps.py", "from onnxplain import InputError, differentiate"),
        ("pictures/render.py", "from onnxplain import native\nfrom PIL import Image"),
        ("torch_export.py", "def f():\n    import torch"),
        ("cli.py", "import onnxplain\nfrom onnxplain import Explainer, differentiate\nimport typer"),
    ],
)
def test_allowed_import_passes(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    assert python_violations(tmp_path) == []


def test_cpp_violation_is_found(tmp_path: Path) -> None:
    (tmp_path / "bindings.cpp").write_text("#include <pybind11/numpy.h>\n", encoding="utf-8")
    (tmp_path / "saliency.cpp").write_text("#include <vector>\n#  include <pybind11/numpy.h>\n", encoding="utf-8")
    assert cpp_violations(tmp_path) == ["saliency.cpp"]
