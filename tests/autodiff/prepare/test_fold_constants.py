"""What is folded before the walk, and what is not because it would change the model's numbers."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from onnxplain.autodiff.prepare.order import prepare


def remaining(body: str) -> list[str]:
    """The operators left of a graph from x [N,6,W] to y after preparation."""
    text = f'<ir_version: 8, opset_import: ["" : 18]> g (float[N,6,W] x) => (float[a,b,c] y) {{ {body} }}'
    model = ir.serde.deserialize_model(onnx.parser.parse_model(text))
    prepare(model)
    return [node.op_type for node in model.graph if any(v.uses() or v.is_graph_output() for v in node.outputs)]


def test_a_static_extent_of_a_symbolic_shape_folds() -> None:
    """The half of the channels that torch's tracer cuts out by ``x.chunk(2, 1)``."""
    body = """s = Shape(x) one = Constant<value_int=1>() c = Gather(s, one) two = Constant<value_int=2>()
    h = Div(c, two) zero = Constant<value_ints=[0]>() e = Unsqueeze(h, zero) axis = Constant<value_ints=[1]>()
    y = Slice(x, zero, e, axis)"""
    assert remaining(body) == ["Slice"]


def test_a_symbolic_extent_does_not_fold() -> None:
    body = """e = Shape<start=2>(x) zero = Constant<value_ints=[0]>() axis = Constant<value_ints=[2]>()
    y = Slice(x, zero, e, axis)"""
    assert remaining(body) == ["Shape", "Slice"]


def test_exact_float_arithmetic_folds() -> None:
    body = """c = Shape<start=1, end=2>(x) f = Cast<to=1>(c) r = Sqrt(f) y = Div(x, r)"""
    assert remaining(body) == ["Div"]


def test_a_float_power_does_not_fold() -> None:
    """Powers differ in the last place between NumPy and ONNX Runtime: the model's outputs would change."""
    body = """c = Shape<start=1, end=2>(x) f = Cast<to=1>(c) p = Constant<value_float=-0.5>() r = Pow(f, p)
    y = Mul(x, r)"""
    assert remaining(body) == ["Pow", "Mul"]
