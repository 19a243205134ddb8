"""``import onnxplain`` is fast and light, and its public names are there."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import onnxplain
from onnxplain import _native, errors

HEAVY = ("torch", "onnxruntime", "onnx", "onnx_ir", "onnxscript", "PIL", "matplotlib")


def run_python(program: str) -> str:
    """Standard output of a program in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def test_import_takes_less_than_three_tenths_of_a_second() -> None:
    program = "import time; begin = time.perf_counter(); import onnxplain; print(time.perf_counter() - begin)"
    seconds = statistics.median(float(run_python(program)) for _ in range(5))
    assert seconds < 0.3


def test_import_loads_nothing_heavy() -> None:
    program = f"import sys, onnxplain; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run_python(program) == "[]"


def test_differentiate_needs_neither_torch_nor_onnxruntime() -> None:
    program = (
        "import sys, onnxplain; onnxplain.differentiate; "
        "print([name for name in ('torch', 'onnxruntime') if name in sys.modules])"
    )
    assert run_python(program) == "[]"


@pytest.mark.parametrize("name", onnxplain.__all__)
def test_public_name_resolves_and_is_listed(name: str) -> None:
    assert getattr(onnxplain, name) is not None
    assert name in dir(onnxplain)


def test_every_error_class_is_public() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.OnnxplainError)
    }
    assert classes <= set(onnxplain.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        onnxplain.nonsense  # noqa: B018


def test_python_and_cpp_versions_are_equal() -> None:
    assert _native.__version__ == onnxplain.__version__


def test_stub_names_what_the_extension_has() -> None:
    stub = ast.parse((Path(onnxplain.__file__).parent / "_native.pyi").read_text(encoding="utf-8"))
    functions = {node.name: [a.arg for a in node.args.args] for node in stub.body if isinstance(node, ast.FunctionDef)}
    module = _native
    assert set(functions) == {name for name in dir(module) if not name.startswith("_")}
    for name, arguments in functions.items():
        signature = (getattr(module, name).__doc__ or "").splitlines()[0]
        bound = ast.parse(f"def {signature}: ...").body[0]
        assert isinstance(bound, ast.FunctionDef)
        assert [a.arg for a in bound.args.args] == arguments
