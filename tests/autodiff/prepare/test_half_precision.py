"""``precision="float16"``: the same graph in half precision, with float32 inputs, outputs and gradients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, InputError, Target, differentiate, differentiate_file

from support import small_models as small
from support.architectures import ARCHITECTURES, Architecture
from support.architectures.export import export
from support.graphs import FLOAT, build
from support.half_rounding import rounding_session

HALF, INT64, BOOL = TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL
#: Largest error of a gradient, as a part of its peak, and smallest cosine: in networks without kinks there is only
#: rounding; in others activations near zero fall on the other side, more of them the deeper the network.
SMOOTH, KINKED = (2e-2, 0.9999), (0.5, 0.95)
NODE = helper.make_node


def run(model: onnx.ModelProto, feeds: dict[str, Any], outputs: list[str], **options: Any) -> list[np.ndarray]:
    found = differentiate(model, **options)
    assert {v.type.tensor_type.elem_type for v in found.graph.output} == {FLOAT}
    result: list[np.ndarray] = rounding_session(found).run(outputs, feeds)
    return result


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor of a differentiated model that ONNX infers."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.output, *graph.value_info]}


@pytest.mark.parametrize("provider", ["portable", "cpu"])
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_networks(architecture: Architecture, provider: str) -> None:
    plain = export(architecture, architecture.model(), "torchscript")
    feeds = {"x": architecture.inputs(2, seed=5).numpy(), "target": np.array([0, 3])}
    everywhere = Target(at="all")  # of networks with places; others have one score for each class in any case
    outputs = [v.name for v in differentiate(plain, everywhere).graph.output]
    exact, found = (
        run(plain, feeds, outputs, target=everywhere, form=provider, precision=p) for p in ("float32", "float16")
    )
    smooth = architecture.name in ("cnn1d", "efficientnet", "convnext", "vit", "swin", "text")
    for name, a, b in zip(outputs, exact, found):
        assert b.dtype == np.float32
        error = np.abs(a - b).max() / np.abs(a).max()
        assert error > 0, f"{name} was not computed in half precision"
        most, least = SMOOTH if smooth or not name.startswith("grad_") else KINKED
        assert error < most
        assert (a * b).sum() > least * np.linalg.norm(a) * np.linalg.norm(b)


def test_numbers_are_those_of_float16() -> None:
    """y = w x + b to the bit, sums and products being rounded one by one."""
    w, b = np.array([1.3, -0.7, 2.1], np.float32), np.array([0.1, 0.2, -0.3], np.float32)
    nodes = [NODE("Mul", ["x", "w"], ["p"]), NODE("Add", ["p", "b"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], {"w": w, "b": b})
    x = np.random.default_rng(0).standard_normal((5, 3), np.float32)
    y, gradient = run(model, {"x": x, "target": np.arange(5) % 3}, ["y", "grad_x"], precision="float16")
    half = [array.astype(np.float16) for array in (x, w, b)]
    np.testing.assert_array_equal(y, (half[0] * half[1] + half[2]).astype(np.float32))
    np.testing.assert_array_equal(gradient, half[1].astype(np.float32) * np.eye(3, dtype=np.float32)[np.arange(5) % 3])


def faint() -> onnx.ModelProto:
    """y = 0.009^3 x: its gradient, 7e-7, has four bits in float16."""
    nodes = [NODE("Mul", [a, "w"], [b]) for a, b in (("x", "a"), ("a", "b"), ("b", "y"))]
    return build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], {"w": np.full(3, 0.009, np.float32)})


def test_small_gradients_keep_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = {"x": np.ones((1, 3), np.float32), "target": np.array([1])}
    (found,) = run(faint(), feeds, ["grad_x"], precision="float16")
    np.testing.assert_allclose(found, [[0, 0.009**3, 0]], rtol=2e-3)
    monkeypatch.setitem(differentiate.__globals__, "GRADIENT_SCALE", 1.0)
    (unscaled,) = run(faint(), feeds, ["grad_x"], precision="float16")
    assert abs(unscaled[0, 1] / 0.009**3 - 1) > 1e-2


def test_a_cotangent_is_float32_and_scaled_too() -> None:
    found = differentiate(faint(), target="cotangent", precision="float16")
    assert found.graph.input[-1].type.tensor_type.elem_type == FLOAT
    feeds = {"x": np.ones((1, 3), np.float32), "cotangent": np.array([[1, 0.5, 2]], np.float32)}
    (gradient,) = rounding_session(found).run(["grad_x"], feeds)
    np.testing.assert_allclose(gradient, 0.009**3 * feeds["cotangent"], rtol=2e-3)


def test_sizes_computed_in_floats_stay_exact() -> None:
    """The width 2 W + 1 by way of floats: 4099 is no number of float16."""
    nodes = [
        NODE("Shape", ["x"], ["width"], start=2),
        NODE("Cast", ["width"], ["float"], to=FLOAT),
        NODE("Mul", ["float", "two"], ["double"]),
        NODE("Add", ["double", "one"], ["more"]),
        NODE("Cast", ["more"], ["size"], to=INT64),
        NODE("Concat", ["ones", "size"], ["shape"], axis=0),
        NODE("Expand", ["w", "shape"], ["wide"]),
        NODE("ReduceMean", ["x", "last"], ["mean"], keepdims=1),
        NODE("Mul", ["mean", "wide"], ["product"]),
        NODE("ReduceMean", ["product", "last"], ["y"], keepdims=0),
        NODE("Shape", ["product"], ["found"]),
    ]
    constants = {
        "two": np.array([2], np.float32),
        "one": np.ones(1, np.float32),
        "w": np.ones((1, 1, 1), np.float32),
        "ones": np.ones(2, np.int64),
        "last": np.array([2]),
    }
    model = build(nodes, [("x", FLOAT, ["N", 2, "W"])], [("y", FLOAT, ["N", 2]), ("found", INT64, [3])], constants)
    feeds = {"x": np.ones((1, 2, 2049), np.float32), "target": np.array([0])}
    found = rounding_session(differentiate(model, precision="float16"))
    shape, gradient = found.run(["found", "grad_x"], feeds)
    assert shape.tolist() == [1, 2, 4099]
    np.testing.assert_allclose(gradient[0, 0], 1 / 2049, rtol=2e-3)


@pytest.mark.parametrize("constant", [-3.4e38, 1e-9])
def test_constants_that_float16_has_not_keep_their_node_in_float32(constant: float) -> None:
    """Attention is masked with the lowest number of float32, which float16 makes infinite only after the sum."""
    nodes = [NODE("Add", ["x", "w"], ["masked"]), NODE("Softmax", ["masked"], ["p"]), NODE("Mul", ["p", "v"], ["y"])]
    constants = {"w": np.array([0, 0, constant], np.float32), "v": np.array([1, 2, 3], np.float32)}
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], constants)
    feeds = {"x": np.array([[0.5, 1, 2]], np.float32), "target": np.array([1])}
    exact, found = (run(model, feeds, ["y", "grad_x"], precision=p) for p in ("float32", "float16"))
    for a, b in zip(exact, found):
        np.testing.assert_allclose(b, a, rtol=3e-3, atol=1e-6)
    assert kinds(differentiate(model, precision="float16"))["masked"] == FLOAT


def test_squares_stay_in_float32() -> None:
    """300^2 is beyond float16; a normalisation written out computes it."""
    nodes = [
        NODE("Mul", ["x", "hundred"], ["large"]),
        NODE("Pow", ["large", "two"], ["square"]),
        NODE("ReduceMean", ["square", "last"], ["mean"]),
        NODE("Sqrt", ["mean"], ["root"]),
        NODE("Div", ["large", "root"], ["y"]),
    ]
    constants = {"hundred": np.full(1, 100, np.float32), "two": np.array(2, np.float32), "last": np.array([1])}
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], constants)
    feeds = {"x": np.array([[3, 4, 5]], np.float32), "target": np.array([1])}
    exact, found = (run(model, feeds, ["y", "grad_x"], precision=p) for p in ("float32", "float16"))
    np.testing.assert_allclose(found[0], exact[0], rtol=2e-3)
    np.testing.assert_allclose(found[1], exact[1], atol=2e-3 * np.abs(exact[1]).max())


def test_subgraphs_read_float32() -> None:
    """If(c): both branches capture a tensor that is computed in half precision."""
    value = helper.make_tensor_value_info
    branches = {
        f"{name}_branch": helper.make_graph(
            [NODE("Mul", ["a", constant], [name])], name, [], [value(name, FLOAT, ["N", 3])]
        )
        for name, constant in (("then", "w"), ("else", "v"))
    }
    nodes = [NODE("Mul", ["x", "x"], ["a"]), NODE("If", ["c"], ["b"], **branches), NODE("Add", ["b", "w"], ["y"])]
    constants = {"w": np.array([1, 2, 3], np.float32), "v": np.array([4, 5, 6], np.float32)}
    inputs = [("x", FLOAT, ["N", 3]), ("c", BOOL, [])]
    model = build(nodes, inputs, [("y", FLOAT, ["N", 3])], constants)  # type: ignore[arg-type]
    x = np.array([[0.5, 1.5, -2]], np.float32)
    for condition, factor in ((True, constants["w"]), (False, constants["v"])):
        feeds = {"x": x, "c": np.array(condition), "target": np.array([2])}
        y, gradient = run(model, feeds, ["y", "grad_x"], wrt="x", precision="float16")
        np.testing.assert_allclose(y, factor * x * x + constants["w"], rtol=2e-3)
        np.testing.assert_allclose(gradient, [[0, 0, 2 * x[0, 2] * factor[2]]], rtol=2e-3)


def test_a_value_that_is_also_an_output_is_float32() -> None:
    nodes = [NODE("Mul", ["x", "x"], ["a"]), NODE("Add", ["a", "x"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 3])], [(n, FLOAT, ["N", 3]) for n in ("a", "y")])
    x = np.array([[0.5, 1.5, -2]], np.float32)
    found = run(model, {"x": x, "target": np.array([2])}, ["a", "y", "grad_x"], tensor="y", precision="float16")
    for name, expected in zip(found, [x * x, x * x + x, [[0, 0, -3]]]):
        np.testing.assert_allclose(name, expected, rtol=2e-3)


def loads(model: onnx.ModelProto) -> bool:
    """Whether a process of its own survives loading it."""
    program = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.stdin.buffer.read())"
    process = subprocess.run([sys.executable, "-c", program], input=model.SerializeToString(), capture_output=True)
    return process.returncode == 0


def test_transposed_casts() -> None:
    """ONNX Runtime crashes on a product that reads a transposed cast to float16, forwards or backwards.

    x -> cast -> transpose -> product -> transpose -> cast -> y, as users write it too.
    """
    nodes = [
        NODE("Cast", ["x"], ["half"], to=HALF),
        NODE("Transpose", ["half"], ["turned"], perm=[1, 0, 2]),
        NODE("MatMul", ["turned", "w"], ["product"]),
        NODE("Transpose", ["product"], ["back"], perm=[1, 0, 2]),
        NODE("Cast", ["back"], ["y"], to=FLOAT),
    ]
    w = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float16)
    outputs = [("y", FLOAT, ["N", 3, 4]), ("turned", HALF, [3, "N", 4])]
    model = build(nodes, [("x", FLOAT, ["N", 3, 4])], outputs, {"w": w})  # type: ignore[arg-type]
    found = differentiate(model, Target(at="all"))
    assert loads(found)
    x = np.random.default_rng(1).standard_normal((2, 3, 4), np.float32)
    feeds = {"x": x, "target": np.array([1, 2])}
    y, turned, gradient = rounding_session(found).run(["y", "turned", "grad_x"], feeds)
    np.testing.assert_array_equal(turned, x.astype(np.float16).transpose(1, 0, 2))
    np.testing.assert_allclose(y, x @ w.astype(np.float32), atol=0.02)
    expected = np.broadcast_to(w.astype(np.float32)[:, [1, 2]].T[:, None], (2, 3, 4))
    np.testing.assert_allclose(gradient, expected, rtol=1e-3)


def test_cast_transposes() -> None:
    """And on one that reads a transposed float16 cast to float32."""
    nodes = [
        NODE("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        NODE("Cast", ["turned"], ["full"], to=FLOAT),
        NODE("MatMul", ["full", "w"], ["product"]),
        NODE("ReduceMean", ["product", "zero"], ["y"], keepdims=0),
    ]
    w = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    inputs, constants = [("x", HALF, ["N", 3, 4])], {"w": w, "zero": np.array([0])}
    found = differentiate(build(nodes, inputs, [("y", FLOAT, ["N", 5])], constants))  # type: ignore[arg-type]
    assert loads(found)
    x = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float16)
    y, gradient = rounding_session(found).run(["y", "grad_x"], {"x": x, "target": np.array([1, 4])})
    np.testing.assert_allclose(y, (x.astype(np.float32) @ w).mean(1), atol=1e-5)
    np.testing.assert_allclose(gradient, np.broadcast_to(w[:, [1, 4]].T[:, None] / 3, (2, 3, 4)), rtol=2e-3)


def test_recurrent() -> None:
    cases = [
        NODE("LSTM", ["t", "W", "R"], ["states"], hidden_size=3),
        NODE("GRU", ["t", "W", "R"], ["states"], hidden_size=3),
    ]
    for cell in cases:
        gates = 4 if cell.op_type == "LSTM" else 3
        nodes = [NODE("Transpose", ["x"], ["t"], perm=[1, 0, 2]), cell, NODE("Squeeze", ["states", "one"], ["s"])]
        nodes.append(NODE("ReduceMean", ["s", "zero"], ["y"], keepdims=0))
        rng = np.random.default_rng(0)
        constants = {
            name: rng.standard_normal((1, gates * 3, n)).astype(np.float32) for name, n in (("W", 4), ("R", 3))
        }
        constants |= {"one": np.array([1]), "zero": np.array([0])}
        model = build(nodes, [("x", FLOAT, ["N", 5, 4])], [("y", FLOAT, ["N", 3])], constants)
        feeds = {"x": rng.standard_normal((2, 5, 4), np.float32), "target": np.array([0, 2])}
        exact, found = (run(model, feeds, ["y", "grad_x"], precision=p) for p in ("float32", "float16"))
        for a, b in zip(exact, found):
            assert 0 < np.abs(a - b).max() < 1e-2 * np.abs(a).max()


def test_quantised_weights() -> None:
    """The bundled model: int8 weights with float scales."""
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    exact, found = (Explainer(cache=False, precision=p) for p in ("float32", "float16"))
    np.testing.assert_allclose(found.scores(x), exact.scores(x), atol=0.02 * np.abs(exact.scores(x)).max())
    a, b = exact.attribute(x, 5), found.attribute(x, 5)
    assert b.dtype == np.float32
    assert 0.98 < (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b) < 1 - 1e-6


def test_methods_and_the_cache(tmp_path: Path) -> None:
    """Inner tensors are float32 outside of the graph; each precision has its own entry in the cache."""
    x = np.random.default_rng(0).standard_normal((2, 3, 224, 224), np.float32)
    for method in ("saliency", "grad_cam", "smoothgrad", "occlusion"):
        options = {"samples": 2} if method == "smoothgrad" else {"window": 112} if method == "occlusion" else {}
        maps = {}
        for precision in ("float32", "float16", "float16"):
            explainer = Explainer(cache=tmp_path, precision=precision)
            maps.setdefault(precision, []).append(explainer.saliency(x, [5, 7], method=method, **options))
        np.testing.assert_array_equal(*maps["float16"])
        error = np.abs(maps["float32"][0] - maps["float16"][0])
        assert error.max() > 0 and np.median(error) < 0.02


def test_tokens() -> None:
    """Methods that begin at the embeddings feed them in float32."""
    (text,) = (architecture for architecture in ARCHITECTURES if architecture.name == "text")
    plain = export(text, text.model(), "torchscript")
    ids = text.inputs(2, seed=5).numpy()
    found = [
        Explainer(plain, wrt="/embedding/Gather_output_0", cache=False, precision=p).attribute(
            ids, [0, 3], method="integrated_gradients", steps=8
        )
        for p in ("float32", "float16")
    ]
    assert found[1].dtype == np.float32
    assert 0 < np.abs(found[0] - found[1]).max() < 2e-2 * np.abs(found[0]).max()


def test_files(tmp_path: Path) -> None:
    model = small.quadratic()
    differentiate_file(model, tmp_path / "half.onnx", precision="float16")
    written = onnx.load(tmp_path / "half.onnx")
    assert HALF in {node.attribute[0].i for node in written.graph.node if node.op_type == "Cast"}


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="precision must be 'float32' or 'float16'; found 'int8'"):
        differentiate(small.quadratic(), precision="int8")
    with pytest.raises(InputError, match=r"already differentiated: .*precision"):
        Explainer(differentiate(small.quadratic()), precision="float16", cache=False)
