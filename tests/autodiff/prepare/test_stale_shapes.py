"""What a file states about its inner shapes, and what follows from its inputs: only the second is believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, differentiate

from support import small_models as small
from support.graphs import run

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Shape = Sequence[int | str | None]
W = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
V = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
X = np.random.default_rng(2).standard_normal((3, 3)).astype(np.float32)
C = np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def stating(model: onnx.ModelProto, **shapes: Shape) -> onnx.ModelProto:
    """The model with shapes of inner tensors written into it."""
    model.graph.value_info.extend(helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in shapes.items())
    return model


# An old Slice: below opset 11 ONNX's inference keeps the extent of a symbolic axis that is sliced.


@pytest.mark.parametrize("opset", [9, 10, 11, 13])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("open_axis", ["L", None])
def test_a_slice_of_a_symbolic_axis(open_axis: str | None, axis: int, opset: int) -> None:
    """y = x times its first row, or column, which is broadcast: its gradient is summed over that axis."""
    bounds = {"starts": [0], "ends": [1], "axes": [axis]}
    inputs = "x" if opset < 10 else "x starts ends axes"
    nodes = [node("Slice", inputs, "first", **(bounds if opset < 10 else {})), node("Mul", "x first", "y")]
    constants = {name: np.array(value) for name, value in bounds.items()} if opset >= 10 else {}
    shape = ["N", open_axis]
    model = small.build(nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)], constants, domains={"": opset})
    found = run(differentiate(model, target="cotangent"), x=X, cotangent=np.ones_like(X))["grad_x"]
    first = X[:1] if axis == 0 else X[:, :1]
    expected = np.broadcast_to(first, X.shape).copy()
    expected[(slice(0, 1),) if axis == 0 else (slice(None), slice(0, 1))] += X.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# An old batch.


def sum_of_products(opset: int = 18, output: Shape = ("N", 4)) -> onnx.ModelProto:
    """y = (x @ W) * (x @ V)."""
    nodes = [node("MatMul", "x W", "a"), node("MatMul", "x V", "b"), node("Mul", "a b", "y")]
    inputs = [("x", FLOAT, ["N", 3])]
    return small.build(nodes, inputs, [("y", FLOAT, output)], {"W": W, "V": V}, domains={"": opset})


EXPECTED = (C * (X @ V)) @ W.T + (C * (X @ W)) @ V.T


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize(
    "stated",
    [
        {"a": [1, 4]},
        {"b": [1, 4]},
        {"a": [1, 4], "b": [1, 4]},
        {"a": [2, 4]},
        {"a": ["M", 4]},
        {"a": [1, 1]},
        {"a": ["N", 1]},
        {"a": [1, "N", 4]},
    ],
    ids=str,
)
def test_an_inner_shape_of_an_old_batch(stated: dict[str, Shape], opset: int) -> None:
    model = stating(sum_of_products(opset), **stated)
    found = run(differentiate(model, target="cotangent"), x=X, cotangent=C)
    np.testing.assert_allclose(found["y"], (X @ W) * (X @ V), rtol=1e-5)
    np.testing.assert_allclose(found["grad_x"], EXPECTED, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [11, 18])
def test_the_output_of_an_old_batch(opset: int) -> None:
    """The input takes any batch, the output still says one: the file that is made must take any batch, too."""
    assert Explainer(sum_of_products(opset, [1, 4])).batch is None
    found = run(differentiate(sum_of_products(opset, [1, 4]), target="cotangent"), x=X, cotangent=C)
    np.testing.assert_allclose(found["grad_x"], EXPECTED, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_maps_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    model = stating(sum_of_products(), a=[1, 4], b=[1, 4])
    found = np.asarray(Explainer(model, batch_size=batch_size).attribute(X, [0, 1, 2]))
    one_hot = np.eye(4, dtype=np.float32)[[0, 1, 2]]
    expected = (one_hot * (X @ V)) @ W.T + (one_hot * (X @ W)) @ V.T
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# Old heights and widths.


def averaged(kind: str) -> onnx.ModelProto:
    """x [N,3,H,W] -> a 1x1 convolution -> one number a channel, in ways that count positions."""
    ends = {
        "GlobalAveragePool": [node("GlobalAveragePool", "maps", "means"), node("Flatten", "means", "y", axis=1)],
        "ReduceMean": [node("ReduceMean", "maps axes", "y", keepdims=0)],
        "Resize": [
            helper.make_node("Resize", ["maps", "", "scales"], ["large"], mode="linear"),
            node("ReduceMean", "large axes", "y", keepdims=0),
        ],
        "AveragePool": [
            node("AveragePool", "maps", "means", kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
            node("ReduceSum", "means axes", "y", keepdims=0),
        ],
    }
    nodes = [node("Conv", "x K", "maps"), *ends[kind]]
    kernel = np.random.default_rng(4).standard_normal((4, 3, 1, 1)).astype(np.float32)
    constants = {"K": kernel, "axes": np.array([2, 3]), "scales": np.array([1, 1, 2, 2], np.float32)}
    return small.build(nodes, [("x", FLOAT, ["N", 3, "H", "W"])], [("y", FLOAT, ["N", 4])], constants)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "ReduceMean", "Resize", "AveragePool"])
@pytest.mark.parametrize("stated", [[1, 4, 6, 6], ["N", 4, 6, 6], ["N", 4, 6, "W"], ["N", 4, 1, 1]], ids=str)
def test_an_inner_shape_of_an_old_size(stated: Shape, kind: str) -> None:
    """The same gradient with and without what is stated; the truth is that of the model that states nothing."""
    x = np.random.default_rng(5).standard_normal((2, 3, 4, 5)).astype(np.float32)
    model, rng = averaged(kind), np.random.default_rng(6)
    cotangent, direction = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 4), x.shape))
    found = run(differentiate(stating(averaged(kind), maps=stated), target="cotangent"), x=x, cotangent=cotangent)[
        "grad_x"
    ]
    difference = run(model, x=x + direction)["y"] - run(model, x=x - direction)["y"]  # the model is linear
    assert np.sum(found * direction) == pytest.approx(np.sum(cotangent * difference) / 2, rel=1e-3)


def test_what_cannot_be_checked_is_believed() -> None:
    """Of an operator that nobody knows, a stated shape is all there is."""
    unknown = helper.make_node("Magic", ["ids"], ["a"], domain="nobody.knows")
    nodes = [unknown, node("MatMul", "x V", "b"), node("Mul", "a b", "y")]
    inputs: list[small.Spec] = [("ids", INT64, ["N"]), ("x", FLOAT, ["N", 3])]
    outputs: list[small.Spec] = [("y", FLOAT, ["N", 4])]
    model = small.build(nodes, inputs, outputs, {"V": V}, domains={"nobody.knows": 1})
    made = differentiate(stating(model, a=[1, 4]), wrt="x", target="cotangent")
    assert "ReduceSum" not in [one.op_type for one in made.graph.node]
    assert [d.dim_value for d in {v.name: v for v in made.graph.value_info}["a"].type.tensor_type.shape.dim] == [1, 4]


# Shapes inside of subgraphs.

IN_SUBGRAPHS = {
    "if": """g (float[N,4] x, bool c) => (float[N,4] y) {
        q = If (c) <then_branch = t () => (float[1,4] o) <float[1,4] a> { a = Sigmoid(x) o = Mul(a, x) },
                    else_branch = e () => (float[1,4] p) <float[1,4] b> { b = Tanh(x) p = Mul(b, x) }>
        y = Mul(q, x) }""",
    "loop": """g (float[N,4] x, bool c) => (float[N,4] y) {
        n = Constant<value_int = 2>()
        y = Loop (n, c, x) <body = b (int64 i, bool k, float[1,4] s) => (bool k2, float[1,4] s2) <float[1,4] a>
            { k2 = Identity(k) a = Mul(s, x) s2 = Mul(a, s) }> }""",
    "scan": """g (float[N,4] x, bool c) => (float[N,4] y) {
        one = Constant<value = int64[1] {0}>() rows = Unsqueeze(x, one)
        y, z = Scan <num_scan_inputs = 1, body = b (float[1,4] s, float[1,4] v) => (float[1,4] s2, float[1,4] r)
            <float[1,4] a> { a = Mul(s, v) s2 = Mul(a, x) r = Identity(s2) }> (x, rows) }""",
}


@pytest.mark.parametrize("name", IN_SUBGRAPHS)
def test_an_old_batch_inside_a_subgraph(name: str) -> None:
    """Gradients at batch 3 of a model whose subgraphs still state a batch of 1: those of its slopes."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> {IN_SUBGRAPHS[name]}')
    differentiated = differentiate(model, target="cotangent")
    cotangent = np.random.default_rng(4).standard_normal((3, 4)).astype(np.float32)
    x = np.random.default_rng(5).uniform(0.5, 1, (3, 4)).astype(np.float32)
    inputs = {v.name for v in differentiated.graph.input}
    feeds = {k: v for k, v in {"c": np.array(True), "cotangent": cotangent}.items() if k in inputs}
    found = run(differentiated, x=x, **feeds)["grad_x"]
    step = 1e-2
    for place in np.ndindex(3, 4):
        moved = np.zeros_like(x)
        moved[place] = step
        ahead, behind = (run(differentiated, x=x + sign * moved, **feeds)["y"] for sign in (1, -1))
        assert found[place] == pytest.approx(float(np.sum(cotangent * (ahead - behind))) / (2 * step), rel=2e-3)
