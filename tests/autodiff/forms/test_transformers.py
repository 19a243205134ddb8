"""Normalisations and gated activations with fewer passes over memory: same gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain.autodiff.forms import order as for_provider
from onnxplain.autodiff.forms.center_normalizations import center_normalizations
from onnxplain.autodiff.forms.factor_products import factor_products
from onnxplain.autodiff.forms.join_slices import join_slices
from onnxplain.autodiff.forms.transpose_parts import transpose_parts

from support.gradient_passes import LEVELS, form_counts, gradient_operators, same_outputs
from support.small_transformers import HEADS, TOKENS, WIDTH, Net, feeds

Only = Callable[..., None]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Only:
    return lambda *passes: monkeypatch.setitem(for_provider.PASSES, "cpu", passes)


@pytest.mark.parametrize("readers", [1, 3])
def test_scale_and_centring_go_into_the_weight(only: Only, readers: int) -> None:
    only(center_normalizations)
    net = Net()
    normal = net.normalization("x")
    read = [net.linear(normal) for _ in range(readers)]
    model = net.model(read[0] if readers == 1 else net.attention(*read))
    for samples in (1, 3):
        found, report = same_outputs(model, feeds(samples), LEVELS)
    assert report.counts()["center_normalizations"] == (1, 0)
    assert len(found.graph.initializer) <= len(model.graph.initializer) + 20  # small numbers and shapes, no weights


def test_normalisations_that_are_left_alone(only: Only) -> None:
    only(center_normalizations)
    net = Net()
    _, report = same_outputs(net.model(net.op("Relu", net.normalization("x"))), feeds(2))
    assert [o.reason for o in report.of("center_normalizations")] == ["what reads it is no product with a weight"]
    net = Net()
    normal = net.normalization("x")
    _, report = same_outputs(net.model(net.op("Add", normal, net.linear(normal))), feeds(2))
    assert [o.reason for o in report.of("center_normalizations")] == ["what reads it is no product with a weight"]
    net = Net()
    axes = net.op("LayerNormalization", "x", net.normal(TOKENS, WIDTH), axis=1)
    _, report = same_outputs(net.model(net.linear(axes)), feeds(2))
    assert form_counts(report) == {"center_normalizations": (0, 1)}


def gelu(net: Net, x: str) -> str:
    slope = net.op("Add", net.op("Erf", net.op("Div", x, math.sqrt(2))), 1.0)
    return net.op("Mul", net.op("Mul", x, slope), 0.5)


def silu(net: Net, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x))


@pytest.mark.parametrize(("act", "saved"), [(gelu, 2), (silu, 1)])
def test_common_factors(
    only: Only, monkeypatch: pytest.MonkeyPatch, act: Callable[[Net, str], str], saved: int
) -> None:
    net = Net()
    model = net.model(act(net, net.linear("x")))
    only()
    before, _ = same_outputs(model, feeds(2))
    only(factor_products)
    for samples in (1, 3):
        after, report = same_outputs(model, feeds(samples), LEVELS)
    assert form_counts(report) == {"factor_products": (1, 0)}
    assert len(gradient_operators(before)) - len(gradient_operators(after)) == saved


def test_sums_of_other_shapes_are_left_alone(only: Only) -> None:
    """A factor that is broadcast is none that the other product has."""
    only(factor_products)
    net = Net()
    gate = net.op("ReduceMean", "x", np.array([2]), keepdims=1)
    _, report = same_outputs(net.model(net.op("Mul", "x", net.op("Sigmoid", gate))), feeds(2))
    assert form_counts(report) == {}


def fused_projections(net: Net, x: str, order: list[int], split: bool) -> str:
    """Attention whose queries, keys and values come from one product, stacked along an axis of their own."""
    stacked = net.op("Reshape", net.linear(x, 3 * WIDTH), np.array([0, 0, 3, HEADS, WIDTH // HEADS]))
    stacked = net.op("Transpose", stacked, perm=order)
    axis = order.index(2)
    if split:
        net.nodes.append(helper.make_node("Split", [stacked], ["q", "k", "v"], name="split", axis=axis, num_outputs=3))
        picked = [net.op("Squeeze", part, np.array([axis])) for part in "qkv"]
    else:
        picked = [net.op("Gather", stacked, np.array(index), axis=axis) for index in range(3)]
    scores = net.op("MatMul", picked[0], net.op("Transpose", picked[1], perm=[0, 1, 3, 2]))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), picked[2])
    return net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, WIDTH]))


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("tokens", [TOKENS, "T"])
@pytest.mark.parametrize("split", [True, False], ids=["split", "gathered"])
@pytest.mark.parametrize("order", [[2, 0, 3, 1, 4], [0, 2, 3, 1, 4]], ids=["stacked first", "stacked behind the batch"])
def test_stacked_gradients_are_transposed_by_themselves(
    only: Only, order: list[int], split: bool, tokens: int | str, samples: int
) -> None:
    only(join_slices, transpose_parts)
    net = Net()
    model = net.model(fused_projections(net, "x", order, split), tokens)
    after, report = same_outputs(model, feeds(samples))
    assert form_counts(report) == {"transpose_parts": (1, 0)} | ({} if split else {"join_slices": (1, 0)})
    transposed = {node.output[0] for node in after.graph.node if node.op_type == "Transpose"}
    stacks = [node for node in after.graph.node if node.op_type == "Concat" and transposed.issuperset(node.input)]
    assert len(stacks) == 1 and not any("Transpose" in reader.op_type for reader in readers_of(after, stacks[0]))
    assert "Pad" not in gradient_operators(after)


def readers_of(model: onnx.ModelProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [reader for reader in model.graph.node if node.output[0] in reader.input]


def test_what_is_no_stack_is_left_alone(only: Only) -> None:
    """Queries and keys of different widths have no axis of their own."""
    only(transpose_parts)
    net = Net()
    turned = net.op("Transpose", net.linear("x"), perm=[0, 2, 1])
    upper, lower = net.op("Slice", turned, [0], [3], [1]), net.op("Slice", turned, [3], [WIDTH], [1])
    joined = net.op("Concat", net.op("Tanh", upper), net.op("Sigmoid", lower), axis=1)
    _, report = same_outputs(net.model(net.op("Transpose", joined, perm=[0, 2, 1])), feeds(2))
    assert report.counts().get("transpose_parts", (0, 0))[0] == 0


SLICES = [
    pytest.param([(0, 3), (3, 5), (5, WIDTH)], True, id="side by side"),
    pytest.param([(5, WIDTH), (0, 3), (3, 5)], True, id="in another order"),
    pytest.param([(0, 3), (4, WIDTH)], False, id="with a gap"),
    pytest.param([(0, 5), (3, WIDTH)], False, id="overlapping"),
    pytest.param([(1, 3), (3, WIDTH)], False, id="not from the beginning"),
    pytest.param([(0, 3), (3, WIDTH - 1)], False, id="not to the end"),
]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("bounds", "joined"), SLICES)
def test_gradients_of_slices(only: Only, bounds: list[tuple[int, int]], joined: bool, residual: bool) -> None:
    """Each slice has a gradient of its own; a residual adds another term to the sum."""
    only(join_slices)
    net = Net()
    x = net.linear("x")
    total = x if residual else None
    for start, end in bounds:
        part = net.op("Tanh", net.op("Slice", x, np.array([start]), np.array([end]), np.array([2])))
        mixed = net.op("MatMul", part, net.normal(end - start, WIDTH))
        total = mixed if total is None else net.op("Add", total, mixed)
    assert total is not None
    after, report = same_outputs(net.model(total), feeds(2))
    assert form_counts(report) == {"join_slices": (1, 0) if joined else (0, 1)}
    assert ("Concat" in gradient_operators(after)) == joined
