"""Inputs and outputs of exporters that write ids as floats, caches without a past, and scores without a batch axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, OnnxplainError, differentiate

from support import small_models as small
from support.graphs import run

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def unless_refused(call: Callable[[], Any], *words: str) -> Any:
    """What ``call`` returns; None where it is refused for a reason that has one of these words."""
    try:
        return call()
    except OnnxplainError as error:
        reason = str(error)
    assert any(word in reason for word in words), reason
    return None


# Ids that are floats: tf2onnx writes a Keras Embedding so.

IDS = np.array([[1, 2, 3], [4, 5, 0]])
E, R = small.EMBEDDING, small.READOUT


def float_tokens(to: int = INT32, shape: Sequence[int | str] = ("N", "T")) -> onnx.ModelProto:
    """ids float [N,T], cast to integers -> squares of embeddings, summed over tokens, @ READOUT [5,3]."""
    nodes = [
        node("Cast", "ids", "whole", to=to),
        node("Gather", "E whole", "embedded"),
        node("Mul", "embedded embedded", "squares"),
        node("ReduceSum", "squares axes", "pooled", keepdims=0),
        node("MatMul", "pooled R", "logits"),
    ]
    constants = {"E": E, "R": R, "axes": np.array([1])}
    return small.build(nodes, [("ids", FLOAT, shape)], [("logits", FLOAT, ["N", 3])], constants)


def by_embeddings(targets: Sequence[int]) -> np.ndarray:
    """d score / d embedding, [N,T,5]."""
    return np.stack([2 * E[row] * R[:, target] for row, target in zip(IDS, targets)])


@pytest.mark.parametrize("to", [INT32, INT64])
def test_float_ids_have_the_gradient_of_their_embeddings(to: int) -> None:
    found = np.asarray(Explainer(float_tokens(to)).attribute(IDS.astype(np.float32), [1, 2]))
    np.testing.assert_allclose(found, by_embeddings([1, 2]), rtol=1e-5)


def test_a_map_of_float_ids_has_one_number_a_token() -> None:
    found = np.asarray(Explainer(float_tokens()).saliency(IDS.astype(np.float32), [1, 2], normalize="none"))
    np.testing.assert_allclose(found, np.abs(by_embeddings([1, 2])).max(axis=2), rtol=1e-5)


@pytest.mark.parametrize("method", ["saliency", "occlusion", "integrated_gradients"])
def test_float_tokens_are_explained_by_every_method(method: str) -> None:
    explainer = Explainer(float_tokens())
    found = explainer.explain_tokens(IDS[0].astype(np.float32), ["a", "b", "c"], target=1, method=method)
    assert found.names == ["a", "b", "c"] and np.asarray(found.attribution).shape == (3,)


def test_float_ids_beside_a_float_input_that_has_a_gradient() -> None:
    """The input of floats has its own gradient, the ids that of their embeddings."""
    nodes = [
        node("Cast", "ids", "whole", to=INT64),
        node("Gather", "E whole", "embedded"),
        node("ReduceSum", "embedded axes", "pooled", keepdims=0),
        node("Mul", "pooled weight", "product"),
        node("MatMul", "product R", "logits"),
    ]
    inputs: list[small.Spec] = [("ids", FLOAT, ["N", 3]), ("weight", FLOAT, ["N", 5])]
    constants = {"E": E, "R": R, "axes": np.array([1])}
    model = small.build(nodes, inputs, [("logits", FLOAT, ["N", 3])], constants)
    weight = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    found: Any = Explainer(model).attribute({"ids": IDS.astype(np.float32), "weight": weight}, [1, 2])
    columns = R[:, [1, 2]].T
    np.testing.assert_allclose(found["weight"], E[IDS].sum(axis=1) * columns, rtol=1e-5)
    expected = np.repeat((weight * columns)[:, None], 3, axis=1)
    np.testing.assert_allclose(found["embedded"], expected, rtol=1e-5)


# An empty past: the first step of a decoder.


def cached(past: int | str = "P") -> onnx.ModelProto:
    """x [N,T,5], past [N,P,5] -> the squares of past and x together, summed over steps, @ READOUT."""
    nodes = [
        node("Concat", "past x", "all", axis=1),
        node("Mul", "all all", "squares"),
        node("ReduceSum", "squares axes", "pooled", keepdims=0),
        node("MatMul", "pooled R", "logits"),
    ]
    inputs: list[small.Spec] = [("x", FLOAT, ["N", "T", 5]), ("past", FLOAT, ["N", past, 5])]
    return small.build(nodes, inputs, [("logits", FLOAT, ["N", 3])], {"R": R, "axes": np.array([1])})


STEPS = np.random.default_rng(1).standard_normal((3, 2, 5)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [None, 1])
def test_an_empty_past(batch_size: int | None) -> None:
    """Without a past there is nothing to explain in it, and x is explained as usual."""
    feeds = {"x": STEPS, "past": np.zeros((3, 0, 5), np.float32)}
    found: Any = Explainer(cached(), batch_size=batch_size).attribute(feeds, [0, 1, 2])
    np.testing.assert_allclose(found["x"], 2 * STEPS * R[:, [0, 1, 2]].T[:, None], rtol=1e-5)
    assert found["past"].shape == (3, 0, 5)


def test_maps_beside_an_empty_past() -> None:
    feeds = {"x": STEPS, "past": np.zeros((3, 0, 5), np.float32)}
    found: Any = Explainer(cached(), wrt="x").saliency(feeds, 1, normalize="none")
    assert np.asarray(found["x"]).size


def test_an_empty_batch_is_still_refused() -> None:
    """What must stay: no samples, no answer; and an extent of 0 where the model states another."""
    with pytest.raises(OnnxplainError, match=r"empty|0 instead of 4"):
        Explainer(small.quadratic()).attribute(np.zeros((0, 3, 4, 4), np.float32), 1)
    with pytest.raises(OnnxplainError, match=r"empty|0 instead of 4"):
        Explainer(small.quadratic()).attribute(np.zeros((1, 3, 4, 0), np.float32), 1)


# Outputs without a batch axis.

ROW = np.random.default_rng(2).standard_normal((1, 5)).astype(np.float32)


def unbatched(rank: int) -> onnx.ModelProto:
    """x [1,5] -> logits [3], or their sum as one number."""
    nodes = [node("Mul", "x x", "squares"), node("MatMul", "squares R", "rows")]
    constants = {"R": R, "first": np.array([0])}
    if rank:
        nodes.append(node("Squeeze", "rows first", "y"))
    else:
        nodes.append(node("ReduceSum", "rows", "y", keepdims=0))
    return small.build(nodes, [("x", FLOAT, [1, 5])], [("y", FLOAT, [3] if rank else [])], constants)


def test_classes_without_a_batch_axis() -> None:
    """y [3] of x [1,5]: three classes of one sample, no batch of three."""
    explainer = Explainer(unbatched(1))
    np.testing.assert_allclose(explainer.scores(ROW), ROW**2 @ R, rtol=1e-5)
    for target in range(3):
        np.testing.assert_allclose(explainer.attribute(ROW, target), 2 * ROW * R[:, target], rtol=1e-5)


def test_one_number_without_a_batch_axis() -> None:
    """y [] of x [1,5]: the score of the one sample."""
    explainer = Explainer(unbatched(0))
    np.testing.assert_allclose(explainer.scores(ROW), (ROW**2 @ R).sum(keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(explainer.attribute(ROW, 0), 2 * ROW * R.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_file_of_such_a_model(rank: int) -> None:
    found = run(differentiate(unbatched(rank)), x=ROW, target=np.array([2 * rank]))
    expected = (ROW**2 @ R)[:, 2] if rank else (ROW**2 @ R).sum(axis=1)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
    assert found["score"].shape == (1,)
    np.testing.assert_allclose(found["grad_x"], 2 * ROW * (R[:, 2] if rank else R.sum(axis=1)), rtol=1e-5)


def test_steps_as_the_batch_of_an_output() -> None:
    """y [S] of x [1,S,5], one number a step: one sample with S of them, and no batch of S."""
    nodes = [
        node("Mul", "x x", "squares"),
        node("ReduceSum", "squares last", "rows", keepdims=0),
        node("Squeeze", "rows first", "y"),
    ]
    constants = {"first": np.array([0]), "last": np.array([2])}
    model = small.build(nodes, [("x", FLOAT, [1, "S", 5])], [("y", FLOAT, ["S"])], constants)
    x = np.random.default_rng(3).standard_normal((1, 4, 5)).astype(np.float32)
    found = unless_refused(lambda: Explainer(model).attribute(x, 2), "batch")
    if found is not None:
        expected = np.zeros_like(x)
        expected[0, 2] = 2 * x[0, 2]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_sum_over_the_batch_is_refused() -> None:
    """One number of many samples is no score of any of them."""
    nodes = [node("Mul", "x x", "squares"), node("ReduceSum", "squares", "y", keepdims=0)]
    model = small.build(nodes, [("x", FLOAT, ["N", 5])], [("y", FLOAT, [])])
    with pytest.raises(OnnxplainError, match="batch"):
        Explainer(model).attribute(np.ones((2, 5), np.float32), 0)


# Captum's targets.


def grid() -> onnx.ModelProto:
    """x [N,2,3] -> y = x * x, [N,2,3]: position and class."""
    node_ = helper.make_node("Mul", ["x", "x"], ["y"])
    return small.build([node_], [("x", FLOAT, ["N", 2, 3])], [("y", FLOAT, ["N", 2, 3])])


GRID = np.random.default_rng(4).standard_normal((2, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 2])
def test_a_tuple_is_one_element_of_every_sample(samples: int) -> None:
    """As in Captum: (1, 2) is y[n, 1, 2] of every n; two samples do not make it a class for each."""
    x = GRID[:samples]
    found = unless_refused(lambda: Explainer(grid()).attribute(x, (1, 2)), "position", "tuple")
    if found is not None:
        expected = np.zeros_like(x)
        expected[:, 1, 2] = 2 * x[:, 1, 2]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_list_of_tuples_is_one_element_for_each_sample() -> None:
    pairs: Any = [(1, 2), (0, 1)]
    found = unless_refused(lambda: Explainer(grid()).attribute(GRID, pairs), "position", "tuple")
    if found is not None:
        expected = np.zeros_like(GRID)
        expected[0, 1, 2], expected[1, 0, 1] = 2 * GRID[0, 1, 2], 2 * GRID[1, 0, 1]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
