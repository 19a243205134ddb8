"""Rules replaced for one call, rules registered for a custom domain, and the page that explains both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxplain
from onnxplain import InputError, UnsupportedOperatorError, differentiate
from onnxplain.autodiff.reverse import registry

from support import REPOSITORY
from support.checker import session
from support.small_models import FLOAT, build

DOCS = REPOSITORY / "docs" / "custom_rules.md"
W1 = np.array([[1, -2, 3], [-1, 2, 1]], np.float32)
W2 = np.array([[1, -3], [-2, 1], [2, 2]], np.float32)
X = np.array([[1, -2], [0.5, 1], [-1, 3]], np.float32)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Every test starts with the rules of the package."""
    before = {key: dict(versions) for key, versions in registry._REGISTRY.items()}
    yield
    registry._REGISTRY.clear()
    registry._REGISTRY.update(before)


def relu_network() -> onnx.ModelProto:
    """x [N,2] -> relu(x W1) W2 [N,2]."""
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "W2"], ["y"]),
    ]
    return build(nodes, [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2])], {"W1": W1, "W2": W2})


def prototypes(metric: str = "sqeuclidean", declared: bool = True) -> onnx.ModelProto:
    """x [N,2] -> its distances to three prototypes [N,3], minus."""
    nodes = [
        helper.make_node("Tanh", ["x"], ["a"]),
        helper.make_node("CDist", ["a", "b"], ["d"], name="distances", domain="com.microsoft", metric=metric),
        helper.make_node("Neg", ["d"], ["y"]),
    ]
    b = np.array([[0, 1], [1, 1], [-1, 0.5]], np.float32)
    shape = ["N", 3] if declared else None
    return build(nodes, [("x", FLOAT, ["N", 2])], [("y", FLOAT, shape)], {"b": b}, domains={"com.microsoft": 1})


def example(heading: str) -> str:
    """The last block of code below a heading of the page."""
    section = DOCS.read_text(encoding="utf-8").split(f"## {heading}")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.S)[-1]


def guided(emit: Any, node: Any, dy: Any) -> Any:
    return emit.Relu(emit.gate(emit.Greater(node.outputs[0], 0.0), dy))


def guided_gradient(target: int) -> np.ndarray:
    return (np.maximum(W2[:, target], 0) * (X @ W1 > 0)) @ W1.T


def gradient(model: onnx.ModelProto, target: int, x: np.ndarray = X) -> np.ndarray:
    feeds = {"x": x, "target": np.full(len(x), target, np.int64)}
    found: np.ndarray = session(model).run(["grad_x"], feeds)[0]
    return found


def central_difference(model: onnx.ModelProto, target: int, x: np.ndarray, step: float = 1e-2) -> np.ndarray:
    forward = session(model)
    slope = np.zeros_like(x)
    for axis in range(x.shape[1]):
        move = np.zeros_like(x)
        move[:, axis] = step
        up, down = (forward.run(["y"], {"x": x + sign * move})[0][:, target] for sign in (1, -1))
        slope[:, axis] = (up - down) / (2 * step)
    return slope


def test_the_page_replaces_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(relu_network(), "classifier.onnx")
    space: dict[str, Any] = {}
    exec(example("Replacing a rule in one call: guided backpropagation"), space)
    for target in (0, 1):
        np.testing.assert_allclose(gradient(space["model"], target), guided_gradient(target), rtol=1e-6)


def test_the_page_registers_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(prototypes(), "prototypes.onnx")
    with pytest.raises(UnsupportedOperatorError, match=r"CDist.*'distances'.*register a rule.*onnxplain\.vjp.*rules="):
        differentiate("prototypes.onnx")
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(example("Registering a rule: distances to prototypes"), space)
    for target in (0, 1, 2):
        expected = central_difference(prototypes(), target, X)
        np.testing.assert_allclose(gradient(space["model"], target), expected, atol=2e-3)
    weights = differentiate(prototypes(), wrt="b")
    found = session(weights).run(["grad_b"], {"x": X, "target": np.zeros(3, np.int64)})[0]
    a, b = np.tanh(X), np.array([[0, 1], [1, 1], [-1, 0.5]], np.float32)
    expected = np.zeros_like(b)
    expected[0] = 2 * (a - b[0]).sum(0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    exec(example("Registering a rule: distances to prototypes"), space)  # a cell that runs again
    with pytest.raises(UnsupportedOperatorError, match="metric = 'euclidean'"):
        differentiate(prototypes("euclidean"))


def test_a_rule_is_replaced_for_one_call_only() -> None:
    plain = gradient(differentiate(relu_network()), 1)
    assert not np.allclose(plain, guided_gradient(1))
    differentiate(relu_network(), rules={"Relu": guided})
    np.testing.assert_array_equal(gradient(differentiate(relu_network()), 1), plain)


def test_a_replaced_rule_holds_in_the_branches_of_an_if() -> None:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["h"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["h"], ["minus"])], "other", [], [helper.make_tensor_value_info("minus", FLOAT, None)]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["h"]),
        helper.make_node("If", ["flag"], ["r"], then_branch=branch, else_branch=other),
        helper.make_node("MatMul", ["r", "W2"], ["y"]),
    ]
    inputs = [("x", FLOAT, ["N", 2]), ("flag", TensorProto.BOOL, [])]
    model = build(nodes, inputs, [("y", FLOAT, ["N", 2])], {"W1": W1, "W2": W2})
    run = session(differentiate(model, rules={"Relu": guided}))
    feeds = {"x": X, "flag": np.array(True), "target": np.ones(len(X), np.int64)}
    np.testing.assert_allclose(run.run(["grad_x"], feeds)[0], guided_gradient(1), rtol=1e-6)


def test_a_replaced_rule_holds_where_an_operator_is_expanded() -> None:
    nodes = [helper.make_node("Softsign", ["x"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 2])])
    registry._REGISTRY.pop(("", "Softsign"))  # so that its definition x / (1 + |x|) is walked

    def constant_denominator(emit: Any, node: Any, dy: Any) -> Any:
        return [emit.Div(dy, node.input(1)), None]

    found = gradient(differentiate(model, rules={"Div": constant_denominator}), 0)
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.abs(X[:, 0])), rtol=1e-6)
    assert not found[:, 1].any()


@pytest.mark.parametrize("key", ["Relu", ("", "Relu"), ("ai.onnx", "Relu")])
def test_keys(key: Any) -> None:
    found = gradient(differentiate(relu_network(), rules={key: guided}), 1)
    np.testing.assert_allclose(found, guided_gradient(1), rtol=1e-6)


def test_broadcasting_is_undone_as_for_the_replaced_rule() -> None:
    nodes = [helper.make_node("Mul", ["x", "s"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 2]), ("s", FLOAT, [1, 2])], [("y", FLOAT, ["N", 2])])

    def doubled(emit: Any, node: Any, dy: Any) -> Any:
        return [None, emit.Mul(emit.Mul(dy, node.input(0)), 2.0)]

    model = differentiate(model, rules={"Mul": doubled}, wrt="s")
    found = session(model).run(["grad_s"], {"x": X, "s": np.ones((1, 2), np.float32), "target": np.zeros(3, np.int64)})
    np.testing.assert_allclose(found[0], [[2 * X[:, 0].sum(), 0]])


def test_an_operator_without_a_derivative_can_be_given_one() -> None:
    nodes = [helper.make_node("Round", ["x"], ["r"]), helper.make_node("MatMul", ["r", "W1"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N", 3])], {"W1": W1})
    assert not gradient(differentiate(model), 2).any()
    through: Callable[..., Any] = lambda emit, node, dy: dy  # noqa: E731
    np.testing.assert_array_equal(
        gradient(differentiate(model, rules={"Round": through}), 2), np.tile(W1[:, 2], (3, 1))
    )


def test_an_unregistered_operator_can_be_given_a_rule_for_one_call() -> None:
    def nothing(emit: Any, node: Any, dy: Any) -> Any:
        return [emit.zeros_like(node.input(0)), None]

    found = differentiate(prototypes(), rules={("com.microsoft", "CDist"): nothing})
    assert not gradient(found, 0).any()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"ReLU": guided}, "'ReLU', which is neither in the model nor known"),
        ({("my.domain", "Relu"): guided}, "'my.domain::Relu'"),
        ({3: guided}, "key 3 is no operator"),
        ({("", "Relu", 18): guided}, "is no operator"),
        ({"Relu": "guided"}, "'guided', which is no rule"),
    ],
)
def test_what_is_no_rule_is_refused(rules: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        differentiate(relu_network(), rules=rules)


def test_an_operator_that_does_not_occur_is_no_mistake() -> None:
    plain = gradient(differentiate(relu_network()), 1)
    np.testing.assert_array_equal(gradient(differentiate(relu_network(), rules={"Elu": guided}), 1), plain)


def test_a_second_rule_is_refused() -> None:
    with pytest.raises(InputError, match=r"ai\.onnx::Relu has a rule .* rules="):
        onnxplain.vjp("Relu")(guided)


def test_types_and_shapes_come_from_a_registered_schema() -> None:
    """Without value_info nobody knows the rank of the score; a schema with an inference function tells."""
    domain = "onnxplain.test.schema"
    nodes = [helper.make_node("Twice", ["x"], ["y"], domain=domain)]
    model = build(nodes, [("x", FLOAT, ["N", 2])], [("y", FLOAT, None)], domains={domain: 1})

    @onnxplain.vjp("Twice", domain=domain)
    def twice(emit: Any, node: Any, dy: Any) -> Any:
        return emit.Mul(dy, 2.0)

    formal = onnx.defs.OpSchema.FormalParameter
    schema = onnx.defs.OpSchema(
        "Twice",
        domain,
        1,
        inputs=[formal("x", "T")],
        outputs=[formal("y", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
    )

    def infer(context: Any) -> None:
        context.set_output_type(0, context.get_input_type(0))

    schema.set_type_and_shape_inference_function(infer)
    onnx.defs.register_schema(schema)
    try:
        found = differentiate(model)
    finally:
        onnx.defs.deregister_schema("Twice", 1, domain)
    shape = next(v for v in found.graph.output if v.name == "grad_x").type.tensor_type.shape
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["N", 2]
