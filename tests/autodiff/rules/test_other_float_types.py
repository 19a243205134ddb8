"""float64 and float16 models: the first suitable case of every operator of these families, in the model's own type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from onnxplain.autodiff import differentiate

from support.cases import activation, arithmetic, convolution, normalization, pooling, reduction, regions, sampling
from support.cases.base import Case
from support.checker import session, torch_gradients

#: What ONNX Runtime's CPU provider cannot run forward.
WITHOUT_KERNEL = {
    "float64": {
        "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "Celu", "Col2Im", "Conv", "ConvTranspose",
        "Cosh", "Erf", "Gelu", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "InstanceNormalization", "LRN",
        "LpPool", "MaxRoiPool", "MaxUnpool", "Mean", "MeanVarianceNormalization", "Sinh", "Tan",
    },
    "float16": {"Celu", "LRN", "MeanVarianceNormalization"},
}  # fmt: skip
TOLERANCE = {"float64": 1e-6, "float16": 1e-2}  # the statistics of LayerNormalization are float32 for float64 too


#: Products of 72 factors underflow in float16.
LEFT_OUT = {"ReduceProd-all", "ReduceProd-all-dropped", "ReduceProd-empty-axes"}


def _first_cases() -> list[Case]:
    families = (activation, arithmetic, convolution, normalization, pooling, reduction, regions, sampling)
    cases = [case for family in families for case in family.CASES]
    usable = [case for case in cases if case.torch is not None and not case.runtime and case.id not in LEFT_OUT]
    first = {case.op: case for case in reversed(usable)}
    return sorted(first.values(), key=lambda case: case.id)


CHECKS = [(c, kind) for kind, missing in WITHOUT_KERNEL.items() for c in _first_cases() if c.op not in missing]


@pytest.mark.parametrize(("case", "kind"), CHECKS, ids=[f"{case.id}-{kind}" for case, kind in CHECKS])
def test_gradient_in_the_type_of_the_model(case: Case, kind: str) -> None:
    dtype = np.dtype(kind)
    runner = session(differentiate(case.model(dtype, None), wrt=case.wrt(), target="cotangent"))
    feeds = {name: np.asarray(array, dtype=dtype) for name, array in case.feeds(1, 3).items()}
    forward = session(case.model(dtype, None)).run(None, feeds)[0]
    cotangent = np.random.default_rng(2).standard_normal(forward.shape).astype(dtype)
    found = runner.run([f"grad_{name}" for name in case.wrt()], {**feeds, "cotangent": cotangent})
    exact = {name: array.astype(np.float64) for name, array in feeds.items()}
    for name, gradient in zip(case.wrt(), found):
        assert gradient.dtype == dtype
        expected = torch_gradients(case, exact, cotangent.astype(np.float64))[name]
        scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=TOLERANCE[kind] * scale)


def _mixed(op: str, kinds: list[str], shapes: list[list[int]]) -> onnx.ModelProto:
    """One node whose inputs have these types; the output has the first of them."""
    elements = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in kinds]
    names = [f"x{i}" for i in range(len(kinds))]
    inputs = [helper.make_tensor_value_info(*x) for x in zip(names, elements, shapes)]
    node = helper.make_node(op, names, ["y"], name="node")
    y = helper.make_tensor_value_info("y", elements[0], shapes[0])
    graph = helper.make_graph([node], "mixed", inputs, [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _batch_norm(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
    s, b, m, v = (p.view(-1, 1) for p in parameters)
    return (x - m) * torch.rsqrt(v + 1e-5) * s + b


@pytest.mark.parametrize(
    ("op", "kinds", "shapes", "function", "tolerance"),
    [
        ("Pow", ["float32", "float64"], [[4, 3], [3]], torch.pow, 1e-5),
        ("Pow", ["float64", "float32"], [[4, 3], [4, 1]], torch.pow, 1e-6),
        ("BatchNormalization", ["float16"] + ["float32"] * 4, [[4, 3, 2]] + [[3]] * 4, _batch_norm, 1e-2),
    ],
    ids=["Pow-float32-float64", "Pow-float64-float32", "BatchNormalization-float16-float32"],
)
def test_gradients_of_inputs_of_two_types(
    op: str, kinds: list[str], shapes: list[list[int]], function: Callable[..., torch.Tensor], tolerance: float
) -> None:
    rng = np.random.default_rng(0)
    feeds = {f"x{i}": rng.uniform(0.5, 2, shape).astype(kind) for i, (kind, shape) in enumerate(zip(kinds, shapes))}
    cotangent = rng.standard_normal(shapes[0]).astype(kinds[0])
    runner = session(differentiate(_mixed(op, kinds, shapes), target="cotangent"))
    found = runner.run([f"grad_{name}" for name in feeds], {**feeds, "cotangent": cotangent})
    tensors = [torch.tensor(array.astype(np.float64), requires_grad=True) for array in feeds.values()]
    expected = torch.autograd.grad(function(*tensors), tensors, torch.tensor(cotangent.astype(np.float64)))
    for kind, gradient, exact in zip(kinds, found, expected):
        assert gradient.dtype == np.dtype(kind)
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=tolerance * float(exact.abs().max()))
