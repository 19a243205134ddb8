"""Probabilities exist where the graph says how scores become probabilities, else not; never a softmax of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, evaluate

from support import small_models as small
from support.graphs import run

FLOAT = TensorProto.FLOAT
W = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
V = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
O = np.random.default_rng(2).standard_normal((3, 1)).astype(np.float32)  # noqa: E741
X = np.random.default_rng(3).standard_normal((5, 3)).astype(np.float32)


def model(nodes: Sequence[onnx.NodeProto], classes: int = 4, **constants: Any) -> onnx.ModelProto:
    """x [N,3] -> a = x @ W and b = x @ V, [N,4], and o = x @ O, [N,1]; then ``nodes``, which end in y."""
    rows = [helper.make_node("MatMul", ["x", name], [name.lower()]) for name in "WVO"]
    arrays = {"W": W, "V": V, "O": O} | {name: np.array(value) for name, value in constants.items()}
    return small.build([*rows, *nodes], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", classes])], arrays)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


TWO = [node("Softmax", "w", "p", axis=1), node("Softmax", "v", "q", axis=1)]
ENDS = {
    "mean of softmaxes": model([*TWO, node("Mean", "p q", "y")]),
    "half of two softmaxes": model([*TWO, node("Add", "p q", "s"), node("Mul", "s half", "y")], half=np.float32(0.5)),
    "weighted softmax": model([*TWO, node("Mul", "p few", "y")], few=np.array([1, 1, 1, 0], np.float32)),
    "clipped softmax": model([*TWO, node("Clip", "p low high", "y")], low=np.float32(0.01), high=np.float32(0.99)),
    "sliced softmax": model([*TWO, node("Slice", "p from to one", "y")], 3, **{"from": [1], "to": [4], "one": [1]}),
    "gathered softmax": model([*TWO, node("Gather", "p few", "y", axis=1)], 2, few=[2, 0]),
    "softmax times objectness": model([*TWO, node("Sigmoid", "o", "sure"), node("Mul", "p sure", "y")]),
    "two softmaxes side by side": model([*TWO, node("Concat", "p q", "y", axis=1)], 8),
    "products of softmaxes": model([*TWO, node("Mul", "p q", "y")]),
    "clipped sigmoid": model([node("Sigmoid", "w", "p"), node("Clip", "p low", "y")], low=np.float32(0.01)),
    "sigmoid times objectness": model(
        [node("Sigmoid", "w", "p"), node("Sigmoid", "o", "sure"), node("Mul", "p sure", "y")]
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_there_is_no_softmax_of_probabilities(end: str) -> None:
    """What is made of probabilities is one itself, or has no such meaning; other numbers are invented."""
    found = Explainer(ENDS[end]).probabilities(X)
    if found is not None:
        np.testing.assert_allclose(found, run(ENDS[end], x=X)["y"], rtol=1e-5)


REGRESSIONS = {
    "several quantities": model([node("Add", "w v", "y")]),
    "bounded quantities": model([node("Tanh", "w", "y")]),
    "quantities above zero": model([node("Relu", "w", "y")]),
    "an embedding": model([node("LpNormalization", "w", "y", axis=1, p=2)]),
}


@pytest.mark.parametrize("end", REGRESSIONS)
def test_a_regression_has_none(end: str) -> None:
    """No softmax or sigmoid, no labels: nothing says that these are classes."""
    explainer = Explainer(REGRESSIONS[end])
    assert explainer.probabilities(X) is None
    assert "%" not in explainer.explain_table(X[0]).title


def test_an_inner_tensor_has_none() -> None:
    """Swish uses a sigmoid of a hidden layer; its numbers are no chances."""
    swish = model([node("Sigmoid", "w", "gate"), node("Mul", "w gate", "h"), node("Softmax", "h", "y", axis=1)])
    assert Explainer(swish, tensor="w").probabilities(X) is None


@pytest.mark.parametrize("ending", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_those_that_the_graph_states(ending: str) -> None:
    """What must stay: logits before the model's own softmax or sigmoid have the model's own probabilities."""
    stated = model([node(ending, "w", "y")])
    output = run(stated, x=X)["y"]
    found = Explainer(stated).probabilities(X)
    assert found is not None
    np.testing.assert_allclose(found, np.exp(output) if ending == "LogSoftmax" else output, rtol=1e-5)


def test_rise_measures_the_output_where_there_are_no_probabilities() -> None:
    """RISE without masks to choose from: the mean of the score under all masks, by hand, of a mean of softmaxes."""
    mean = ENDS["mean of softmaxes"]
    options: dict[str, Any] = {"masks": 200, "seed": 1, "centered": False, "baseline": 0.0}
    found = np.asarray(Explainer(mean).attribute(X[:1], 2, "rise", **options))[0]
    masks = np.random.default_rng([1, 0]).random((200, 1, 3))[:, 0] < 0.5
    scores = run(mean, x=(X[0] * masks).astype(np.float32))["y"][:, 2]
    np.testing.assert_allclose(found, (scores @ masks) / masks.sum(axis=0), rtol=1e-4)


def test_evaluate_measures_the_score_where_there_are_no_probabilities() -> None:
    """Deletion of nothing starts at the model's own number, not at a softmax of it."""
    nodes = [
        node("Flatten", "image", "x", axis=1),
        *[node("MatMul", f"x {name}", name.lower()) for name in "WV"],
        *TWO,
        node("Mean", "p q", "y"),
    ]
    rng = np.random.default_rng(4)
    weights = {name: rng.standard_normal((48, 4)).astype(np.float32) for name in "WV"}
    ensemble = small.build(nodes, [("image", FLOAT, ["N", 3, 4, 4])], [("y", FLOAT, ["N", 4])], weights)
    explainer = Explainer(ensemble, preprocessing={"resize": "exact", "size": 4})
    photos = [small.picture(4, 4, seed) for seed in range(2)]
    tensors = np.stack([explainer.preprocessing.preprocessing.apply(photo)[0] for photo in photos]).astype(np.float32)
    found = evaluate(explainer, photos, ["saliency"], target=[1, 2], steps=2)
    expected = run(ensemble, image=tensors)["y"][[0, 1], [1, 2]]
    np.testing.assert_allclose(found.curves["deletion"][0].scores[:, 0], expected, rtol=1e-4)
