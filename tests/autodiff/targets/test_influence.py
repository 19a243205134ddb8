"""Whether samples of a batch influence each other is found in the graph, and only where it is so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import differentiate

from support import small_models as small

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
W = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def influence(model: onnx.ModelProto) -> str | None:
    """What the file says of the samples, None if nothing."""
    return {entry.key: entry.value for entry in differentiate(model).metadata_props}.get("onnxplain.influence")


def rows(nodes: Sequence[onnx.NodeProto], batch: int | str | None = "N", **constants: Any) -> onnx.ModelProto:
    """x [N,3] -> ``nodes``, which end in c [N,3] -> c @ W."""
    arrays = {"W": W} | {name: np.array(value) for name, value in constants.items()}
    ending = node("MatMul", "c W", "logits")
    return small.build([*nodes, ending], [("x", FLOAT, [batch, 3])], [("logits", FLOAT, [batch, 4])], arrays)


#: Nodes from x [N,3] to c [N,3], their constants, and the operator by which samples influence each other.
TOGETHER: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "a mean": ([node("ReduceMean", "x first", "m", keepdims=1), node("Sub", "x m", "c")], {"first": [0]}, "ReduceMean"),
    "a maximum of everything": ([node("ReduceMax", "x", "m"), node("Div", "x m", "c")], {}, "ReduceMax"),
    "a softmax": ([node("Softmax", "x", "c", axis=0)], {}, "Softmax"),
    "a normalization": ([node("LpNormalization", "x", "c", axis=0)], {}, "LpNormalization"),
    "a running sum": ([node("CumSum", "x axis", "c")], {"axis": 0}, "CumSum"),
    "attention among samples": (
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("MatMul", "x t", "alike"),
            node("MatMul", "alike x", "c"),
        ],
        {},
        "MatMul",
    ),
    "a second moment": (
        [node("Transpose", "x", "t", perm=[1, 0]), node("MatMul", "t x", "m"), node("MatMul", "x m", "c")],
        {},
        "MatMul",
    ),
    "the first sample": ([node("Gather", "x first", "m", axis=0), node("Sub", "x m", "c")], {"first": [0]}, "Gather"),
    "steps of a recurrent network": (
        [node("Unsqueeze", "x one", "s"), node("RNN", "s V R", "r", hidden_size=3), node("Squeeze", "r both", "c")],
        {"one": [1], "both": [1, 2], "V": np.ones((1, 3, 3), np.float32), "R": np.ones((1, 3, 3), np.float32)},
        "RNN",
    ),
    "neighbours": (
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("Unsqueeze", "t first", "s"),
            node("Conv", "s K", "k", pads=[1, 1]),
            node("Squeeze", "k first", "u"),
            node("Transpose", "u", "c", perm=[1, 0]),
        ],
        {"first": [0], "K": np.ones((3, 3, 3), np.float32)},
        "Conv",
    ),
}
APART: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "a mean of each": (
        [node("ReduceMean", "x last", "m", keepdims=1), node("Sub", "x m", "c")],
        {"last": [1]},
    ),
    "a softmax of each": ([node("Softmax", "x", "c", axis=1)], {}),
    "a normalization of each": (
        [node("LayerNormalization", "x scale", "c", axis=1)],
        {"scale": np.ones(3, np.float32)},
    ),
    "turned and turned back": (
        [
            node("Transpose", "x", "t", perm=[1, 0]),
            node("Softmax", "t", "s", axis=0),
            node("Transpose", "s", "c", perm=[1, 0]),
        ],
        {},
    ),
    "folded": (
        [
            node("Reshape", "x fold", "f"),
            node("Mul", "f f", "g"),
            node("Reshape", "g unfold", "c"),
        ],
        {"fold": [-1, 1], "unfold": [-1, 3]},
    ),
    "a recurrent network": (
        [node("Unsqueeze", "x first", "s"), node("RNN", "s V R", "r", hidden_size=3), node("Squeeze", "r both", "c")],
        {"first": [0], "both": [0, 1], "V": np.ones((1, 3, 3), np.float32), "R": np.ones((1, 3, 3), np.float32)},
    ),
    "a type taken from the samples": (
        [node("CastLike", "first x", "m"), node("Sub", "x m", "c")],
        {"first": np.ones((1, 3), np.float32)},
    ),
    "one sample by a constant": ([node("Reshape", "x shape", "r"), node("Mul", "r r", "c")], {"shape": [1, 3]}),
}


@pytest.mark.parametrize("batch", ["N", 4, None])
@pytest.mark.parametrize("kind", TOGETHER)
def test_samples_that_influence_each_other(kind: str, batch: int | str | None) -> None:
    nodes, constants, op_type = TOGETHER[kind]
    found = influence(rows(nodes, batch, **constants))
    assert found is not None and found.startswith(f"{op_type} node ")


@pytest.mark.parametrize("batch", ["N", 4, None])
@pytest.mark.parametrize("kind", APART)
def test_samples_that_do_not(kind: str, batch: int | str | None) -> None:
    nodes, constants = APART[kind]
    if kind == "one sample by a constant" and batch == 4:
        pytest.skip("no such model runs")
    assert influence(rows(nodes, batch, **constants)) is None


@pytest.mark.parametrize("kind", TOGETHER)
def test_one_sample_has_nobody_to_influence(kind: str) -> None:
    nodes, constants, _ = TOGETHER[kind]
    assert influence(rows(nodes, 1, **constants)) is None


def test_a_batch_normalization_with_the_statistics_of_the_batch() -> None:
    constants = {"one": np.ones(3, np.float32), "zero": np.zeros(3, np.float32)}
    for training in (0, 1):
        made = node(
            "BatchNormalization", "x one zero zero one", "c mean var" if training else "c", training_mode=training
        )
        assert (influence(rows([made], **constants)) is not None) == bool(training)


@pytest.mark.parametrize("model", [small.quadratic(), small.product(), small.tokens(), small.any_size()])
def test_usual_models(model: onnx.ModelProto) -> None:
    assert influence(model) is None
