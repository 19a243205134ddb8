"""Graphs that are thousands of nodes deep: nothing in differentiation recurses over depth, and costs grow with size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnxplain import differentiate
from onnxplain.autodiff.forms.order import PASSES

WEIGHTS = [
    helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4, dtype=np.float32).ravel()),
    helper.make_tensor("b", TensorProto.FLOAT, [4], [0.01] * 4),
    helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
    helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    helper.make_tensor("k", TensorProto.FLOAT, [16, 16, 1, 1], np.eye(16, dtype=np.float32).ravel()),
]


def model_of(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str], weights: Sequence[onnx.TensorProto]
) -> onnx.ModelProto:
    """A model from ``x`` to the last node's output, of the same rank."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [None] * len(shape))
    graph = helper.make_graph(list(nodes), "deep", [x], [y], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def chain(links: Sequence[tuple[str, Sequence[str]]], depth: int, shape: Sequence[int | str]) -> onnx.ModelProto:
    """``depth`` nodes in a row: every one an operator of ``links``, of the value before (``.``) and of weights."""
    nodes, last = [], "x"
    for index in range(depth):
        op_type, reads = links[index % len(links)]
        nodes.append(helper.make_node(op_type, [last if name == "." else name for name in reads], [f"v{index}"]))
        last = f"v{index}"
    return model_of(nodes, shape, WEIGHTS)


CHAINS = {
    "activations": ([("Relu", ["."]), ("Add", [".", "b"]), ("Sigmoid", ["."]), ("MatMul", [".", "w"])], ["N", 4]),
    "masks": ([("Relu", ["."])], ["N", 4]),
    "products": ([("Mul", [".", "half"]), ("Mul", [".", "."])], ["N", 4]),
    "residuals": ([("Add", [".", "x"])], ["N", 4]),
    "images": ([("Conv", [".", "k"]), ("Relu", ["."])], ["N", 16, 4, 4]),
    "joined": ([("Concat", ["."]), ("Identity", ["."])], ["N", 4]),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "form", "depth"),
    [*(("activations", form, 5_000) for form in PASSES), *((kind, "cpu", 1_500) for kind in CHAINS)],
)
def test_a_deep_chain_differentiates(kind: str, form: str, depth: int) -> None:
    """1,500 nodes are more than Python's calls can be nested."""
    links, shape = CHAINS[kind]
    model = chain(links, depth, shape)
    for node in model.graph.node:
        if node.op_type == "Concat":
            node.attribute.append(helper.make_attribute("axis", 1))
    if len(shape) == 4:
        model.graph.node.append(helper.make_node("GlobalAveragePool", [model.graph.output[0].name], ["pooled"]))
        model.graph.node.append(helper.make_node("Flatten", ["pooled"], ["y"]))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 16]))
    differentiated = differentiate(model, form=form)
    assert any(v.name == "grad_x" for v in differentiated.graph.output)
    assert len(differentiated.graph.node) >= len(model.graph.node)


def test_a_conjunction_that_doubles_at_every_node_is_one_mask() -> None:
    """A condition is read by its nodes, of which there are 60, and not by its 2**60 paths."""
    nodes = [helper.make_node("Greater", ["x", "zero"], ["c0"])]
    nodes += [helper.make_node("And", [f"c{i}", f"c{i}"], [f"c{i + 1}"]) for i in range(60)]
    nodes += [helper.make_node("Where", ["c60", "x", "zero"], ["y"])]
    model = model_of(nodes, ["N", 4], WEIGHTS)
    session = ort.InferenceSession(differentiate(model, form="cpu").SerializeToString())
    x = np.array([[1, -1, 2, -2]], np.float32)
    found = session.run(["grad_x"], {"x": x, "target": np.array([2])})[0]
    assert found.tolist() == [[0, 0, 1, 0]]


def test_weights_that_double_at_every_node_are_constant() -> None:
    nodes = [helper.make_node("Add", [f"w{i}" if i else "w", f"w{i}" if i else "w"], [f"w{i + 1}"]) for i in range(60)]
    nodes += [helper.make_node("MatMul", ["x", "w60"], ["p"])]
    nodes += [helper.make_node("LayerNormalization", ["p", "b"], ["n"], axis=-1)]
    nodes += [helper.make_node("MatMul", ["n", "w60"], ["y"])]
    assert differentiate(model_of(nodes, ["N", 4], WEIGHTS), form="cpu").graph.node


@pytest.mark.slow
def test_a_recurrent_network_unrolled_over_1000_steps() -> None:
    """h[t] = tanh(x[:, t] u + h[t-1] w): the gradient is that of the operator RNN on the same weights."""
    steps, width = 1_000, 4
    rng = np.random.default_rng(0)
    u, w = (rng.normal(size=(width, width)).astype(np.float32) / 2 for _ in range(2))
    starts = [helper.make_tensor(f"t{t}", TensorProto.INT64, [], [t]) for t in range(steps)]
    weights = [helper.make_tensor("u", TensorProto.FLOAT, [width, width], u.ravel())]
    weights += [helper.make_tensor("w", TensorProto.FLOAT, [width, width], w.ravel()), *starts]
    nodes, last = [], None
    for t in range(steps):
        nodes.append(helper.make_node("Gather", ["x", f"t{t}"], [f"x{t}"], axis=1))
        nodes.append(helper.make_node("MatMul", [f"x{t}", "u"], [f"xu{t}"]))
        if last is not None:
            nodes.append(helper.make_node("MatMul", [last, "w"], [f"hw{t}"]))
            nodes.append(helper.make_node("Add", [f"xu{t}", f"hw{t}"], [f"s{t}"]))
        nodes.append(helper.make_node("Tanh", [f"s{t}" if last else f"xu{t}"], [f"h{t}"]))
        last = f"h{t}"
    model = model_of(nodes, ["N", steps, width], weights)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(last or "", TensorProto.FLOAT, ["N", width]))

    rnn = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["xt", "wi", "wh"], ["", "h"], hidden_size=width),
        helper.make_node("Squeeze", ["h", "axis"], ["y"]),
    ]
    same = [
        helper.make_tensor("wi", TensorProto.FLOAT, [1, width, width], u.T.ravel()),
        helper.make_tensor("wh", TensorProto.FLOAT, [1, width, width], w.T.ravel()),
        helper.make_tensor("axis", TensorProto.INT64, [1], [0]),
    ]
    whole = model_of(rnn, ["N", steps, width], same)
    whole.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width]))
    feeds = {"x": rng.normal(size=(2, steps, width)).astype(np.float32), "target": np.array([0, 3])}
    found, expected = (
        ort.InferenceSession(differentiate(one, form=form).SerializeToString()).run(["grad_x"], feeds)[0]
        for one, form in ((model, "cpu"), (whole, "portable"))
    )
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", PASSES)
def test_a_transformer_of_48_layers(form: str) -> None:
    width, heads, tokens, layers = 16, 2, 4, 48
    rng = np.random.default_rng(0)
    weights = [
        helper.make_tensor("split", TensorProto.INT64, [4], [0, tokens, heads, width // heads]),
        helper.make_tensor("join", TensorProto.INT64, [3], [0, tokens, width]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [(width / heads) ** -0.5]),
    ]
    nodes: list[onnx.NodeProto] = []

    def matrix(name: str, rows: int, columns: int) -> str:
        name = f"weight_{name}"
        array = rng.normal(size=(rows, columns)).astype(np.float32) / rows**0.5
        weights.append(helper.make_tensor(name, TensorProto.FLOAT, [rows, columns], array.ravel()))
        return name

    def node(op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(nodes)}"
        nodes.append(helper.make_node(op_type, list(inputs), [name], **attributes))
        return name

    weights.append(helper.make_tensor("ones", TensorProto.FLOAT, [width], [1.0] * width))
    last = "x"
    for layer in range(layers):
        normal = node("LayerNormalization", last, "ones", axis=-1)
        parts = [node("MatMul", normal, matrix(f"{name}{layer}", width, width)) for name in "qkv"]
        q, k, v = (node("Transpose", node("Reshape", part, "split"), perm=[0, 2, 1, 3]) for part in parts)
        logits = node("Mul", node("MatMul", q, node("Transpose", k, perm=[0, 1, 3, 2])), "scale")
        mixed = node("MatMul", node("Softmax", logits, axis=-1), v)
        joined = node("Reshape", node("Transpose", mixed, perm=[0, 2, 1, 3]), "join")
        last = node("Add", last, node("MatMul", joined, matrix(f"o{layer}", width, width)))
        wide = node("MatMul", node("LayerNormalization", last, "ones", axis=-1), matrix(f"a{layer}", width, 2 * width))
        last = node("Add", last, node("MatMul", node("Tanh", wide), matrix(f"b{layer}", 2 * width, width)))
    node("ReduceMean", last, "tokens_axis", keepdims=0)
    weights.append(helper.make_tensor("tokens_axis", TensorProto.INT64, [1], [1]))
    model = model_of(nodes, ["N", tokens, width], weights)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["N", width]))
    session = ort.InferenceSession(differentiate(model, form=form).SerializeToString())
    x = rng.normal(size=(1, tokens, width)).astype(np.float32)
    score, gradient = session.run(["score", "grad_x"], {"x": x, "target": np.array([3])})
    step = 3e-3 * gradient / np.linalg.norm(gradient)
    ahead, behind = (session.run(["score"], {"x": x + s, "target": np.array([3])})[0] for s in (step, -step))
    assert np.isfinite(score).all()
    np.testing.assert_allclose((ahead - behind) / 6e-3, np.linalg.norm(gradient), rtol=2e-2)


@pytest.mark.slow
def test_memory_grows_with_the_graph_and_weights_are_not_copied_more_than_twice() -> None:
    """Peak memory of Python and NumPy: at most three times the model's, where weights are most of it."""
    weight = np.zeros((1024, 1024), np.float32)
    weights = [
        helper.make_tensor(f"m{i}", TensorProto.FLOAT, weight.shape, weight.tobytes(), raw=True) for i in range(16)
    ]
    nodes, last = [], "x"
    for i in range(16):
        nodes.append(helper.make_node("MatMul", [last, f"m{i}"], [f"v{i}"]))
        last = f"v{i}"
    model = model_of(nodes, ["N", 1024], weights)
    data = model.SerializeToString()
    del model
    tracemalloc.start()
    differentiate(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(data)
