"""The standard's operator Gradient in standard operators: its own backend tests, and what its text says besides."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.loader import load_model_tests

from onnxplain import ModelError, differentiate, lower_gradients

from support.graphs import FLOAT, names, run

DOMAIN = "ai.onnx.preview.training"
STANDARD = [case for case in load_model_tests(kind="simple") if case.name.startswith("test_gradient_of")]


def gradient(inputs: str, outputs: str, xs: str, y: str, zs: str = "") -> onnx.NodeProto:
    attributes: dict[str, Any] = {"xs": xs.split(), "y": y} | ({"zs": zs.split()} if zs else {})
    return helper.make_node("Gradient", inputs.split(), outputs.split(), domain=DOMAIN, **attributes)


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def model(
    nodes: list[onnx.NodeProto], inputs: str, outputs: str, shape: tuple[int | str, ...] = ("N",)
) -> onnx.ModelProto:
    def infos(text: str) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, FLOAT, list(shape)) for name in text.split()]

    graph = helper.make_graph(nodes, "graph", infos(inputs), infos(outputs))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def domains(proto: onnx.ModelProto) -> set[str]:
    return {one.domain for one in [*proto.opset_import, *proto.graph.node]}


@pytest.mark.parametrize("case", STANDARD, ids=lambda case: case.name)
def test_the_backend_tests_of_the_standard(case: Any) -> None:
    lowered = lower_gradients(f"{case.model_dir}/model.onnx")
    onnx.checker.check_model(lowered, full_check=True)
    assert domains(lowered) == {""}
    original = onnx.load(f"{case.model_dir}/model.onnx").graph
    assert names(lowered.graph.input) == names(original.input) and names(lowered.graph.output) == names(original.output)

    def read(kind: str, count: int) -> list[np.ndarray]:
        protos = [
            onnx.TensorProto.FromString(_bytes(f"{case.model_dir}/test_data_set_0/{kind}_{i}.pb")) for i in range(count)
        ]
        return [onnx.numpy_helper.to_array(proto) for proto in protos]

    feeds = dict(zip(names(original.input), read("input", len(original.input))))
    for name, expected in zip(names(original.output), read("output", len(original.output))):
        np.testing.assert_allclose(run(lowered, **feeds)[name], expected, rtol=1e-6)


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_there_are_two_such_tests() -> None:
    assert len(STANDARD) == 2


A, B = np.array([1.0, 2.0, -3.0], np.float32), np.array([0.5, -1.0, 4.0], np.float32)


def test_what_is_differentiated_may_be_read_at_other_points() -> None:
    """y = a * a * b; its gradient by a, taken at a = b and b = a."""
    nodes = [node("Mul", "a a", "s"), node("Mul", "s b", "y"), gradient("b a", "g", "a", "y", "b")]
    lowered = lower_gradients(model(nodes, "a b", "y g"))
    found = run(lowered, a=A, b=B)
    np.testing.assert_allclose(found["y"], A * A * B, rtol=1e-6)
    np.testing.assert_allclose(found["g"], 2 * B * A, rtol=1e-6)


def test_the_same_tensor_may_take_two_places() -> None:
    nodes = [node("Mul", "a b", "y"), gradient("a a", "ga gb", "a b", "y")]
    found = run(lower_gradients(model(nodes, "a b", "ga gb")), a=A, b=B)
    np.testing.assert_array_equal(found["ga"], A)
    np.testing.assert_array_equal(found["gb"], A)


def test_what_is_held_is_independent() -> None:
    """s = a * a, y = a * s: dy/da is s where s is held, and dy/ds is a."""
    nodes = [node("Mul", "a a", "s"), node("Mul", "a s", "y"), gradient("a s", "g", "a", "y", "s")]
    np.testing.assert_array_equal(run(lower_gradients(model(nodes, "a", "g")), a=A)["g"], A * A)
    nodes[-1] = gradient("a s", "ga gs", "a s", "y")
    found = run(lower_gradients(model(nodes, "a", "ga gs")), a=A)
    np.testing.assert_array_equal(found["ga"], A * A)
    np.testing.assert_array_equal(found["gs"], A)


def test_a_held_output_of_a_node_whose_other_output_is_not_held() -> None:
    nodes = [node("Split", "a", "p q", axis=0), node("Mul", "p q", "y"), gradient("a q", "g", "a", "y", "q")]
    nodes[0].attribute.append(helper.make_attribute("num_outputs", 2))
    proto = model(nodes, "a", "g", (4,))
    proto.opset_import[0].version = 18
    a = np.arange(1, 5, dtype=np.float32)
    np.testing.assert_array_equal(run(lower_gradients(proto), a=a)["g"], [3, 4, 0, 0])


def test_gradients_of_gradients() -> None:
    """y = a^3, as the standard's text writes a second derivative."""
    nodes = [
        node("Mul", "a a", "s"),
        node("Mul", "s a", "y"),
        gradient("a", "first", "a", "y"),
        gradient("a", "second", "a", "first"),
        gradient("a", "third", "a", "second"),
    ]
    lowered = lower_gradients(model(nodes, "a", "first second third"))
    found = run(lowered, a=A)
    for name, expected in (("first", 3 * A * A), ("second", 6 * A), ("third", np.full_like(A, 6))):
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)


def test_an_input_without_influence_has_the_gradient_zero() -> None:
    nodes = [node("Mul", "a a", "y"), gradient("a b", "ga gb", "a b", "y")]
    np.testing.assert_array_equal(run(lower_gradients(model(nodes, "a b", "gb")), a=A, b=B)["gb"], 0 * B)


def test_differentiate_takes_models_with_gradient() -> None:
    """The score g = 2 a b, by a: 2 b."""
    nodes = [node("Mul", "a a", "s"), node("Mul", "s b", "y"), gradient("a b", "g", "a", "y", "b")]
    found = run(differentiate(model(nodes, "a b", "g"), target="cotangent"), a=A, b=B, cotangent=np.ones_like(A))
    np.testing.assert_allclose(found["grad_a"], 2 * B, rtol=1e-6)
    np.testing.assert_allclose(found["grad_b"], 2 * A, rtol=1e-6)


def test_a_gradient_inside_of_a_function() -> None:
    body = [node("Mul", "u u", "y"), gradient("u", "g", "u", "y")]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    proto = model([helper.make_node("Slope", ["a"], ["out"], domain="local")], "a", "out")
    proto.functions.append(helper.make_function("local", "Slope", ["u"], ["g"], body, imports))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    np.testing.assert_array_equal(run(lower_gradients(proto), a=A)["out"], 2 * A)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (gradient("a", "g", "a", "nothing"), "names 'nothing'"),
        (gradient("a", "g", "b", "y"), "names 'b'"),
        (gradient("a a", "g", "a", "y"), "2 inputs for the 1 names"),
        (gradient("a", "g", "a", "z"), "computed from its own result"),
    ],
)
def test_a_gradient_that_means_nothing_is_refused(wrong: onnx.NodeProto, message: str) -> None:
    nodes = [node("Mul", "a a", "y"), wrong, node("Mul", "g g", "z")]
    with pytest.raises(ModelError, match=message):
        lower_gradients(model(nodes, "a", "z"))


def test_a_gradient_in_a_body_is_refused() -> None:
    info = helper.make_tensor_value_info("g", FLOAT, ["N"])
    branch = helper.make_graph([gradient("a", "g", "a", "y")], "then", [], [info])
    other = helper.make_graph([node("Neg", "a", "n")], "else", [], [helper.make_tensor_value_info("n", FLOAT, ["N"])])
    nodes = [node("Mul", "a a", "y"), helper.make_node("If", ["c"], ["out"], then_branch=branch, else_branch=other)]
    proto = model(nodes, "a", "out")
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    with pytest.raises(ModelError, match="in the body of another node"):
        lower_gradients(proto)


def test_the_model_stays_as_it_was() -> None:
    proto = model([node("Mul", "a a", "y"), gradient("a", "g", "a", "y")], "a", "g")
    before = proto.SerializeToString(deterministic=True)
    lower_gradients(proto)
    assert proto.SerializeToString(deterministic=True) == before
    graph_model = ir.serde.deserialize_model(proto)
    np.testing.assert_array_equal(run(lower_gradients(graph_model), a=A)["g"], 2 * A)
