"""The public contract of ``differentiate``: names, seeds, targets, what stays and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import InputError, ModelError, OnnxplainError, UnsupportedOperatorError
from onnxplain.autodiff import differentiate
from onnxplain.target import Target

from support.graphs import EXPECTED, FLOAT, INT64, TARGET, W, X, build, classifier, names, run


def test_target_adds_the_score_and_the_gradient_of_one_class_per_sample() -> None:
    model = differentiate(classifier())
    assert names(model.graph.input) == ["x", "target"]
    assert names(model.graph.output) == ["logits", "score", "grad_x"]
    found = run(model, x=X, target=TARGET)
    np.testing.assert_array_equal(found["logits"], run(classifier(), x=X)["logits"])
    np.testing.assert_array_equal(found["score"], found["logits"][[0, 1], TARGET])
    np.testing.assert_allclose(found["grad_x"], EXPECTED, rtol=1e-6)


def test_symbolic_batch_stays_symbolic_everywhere() -> None:
    model = differentiate(classifier())
    for value in [*model.graph.input, *model.graph.output]:
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    assert [d.dim_value for d in model.graph.output[2].type.tensor_type.shape.dim] == [0, 3]


def test_target_out_of_range_fails_at_run_time() -> None:
    with pytest.raises(Exception, match="GatherElements"):
        run(differentiate(classifier()), x=X, target=np.array([0, 4]))


def test_cotangent_is_a_vector_jacobian_product_of_the_output_itself() -> None:
    model = differentiate(classifier([helper.make_node("Softmax", ["logits"], ["p"])], "p"), target="cotangent")
    assert names(model.graph.input) == ["x", "cotangent"]
    assert names(model.graph.output) == ["p", "grad_x"]
    c = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    found = run(model, x=X, cotangent=c)
    p = found["p"]
    dlogits = p * (c - (p * c).sum(1, keepdims=True))
    np.testing.assert_allclose(found["grad_x"], 2 * X * (dlogits @ W.T), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Sigmoid"])
@pytest.mark.parametrize("tail", ["", "Identity", "Reshape", "Cast"])
def test_a_final_probability_is_looked_through(operator: str, tail: str) -> None:
    nodes = [helper.make_node(operator, ["logits"], ["p"])]
    if tail == "Identity":
        nodes.append(helper.make_node("Identity", ["p"], ["q"]))
    elif tail == "Reshape":
        nodes += [
            helper.make_node("Constant", [], ["shape"], value_ints=[-1, 4]),
            helper.make_node("Reshape", ["p", "shape"], ["q"]),
        ]
    elif tail == "Cast":
        nodes.append(helper.make_node("Cast", ["p"], ["q"], to=FLOAT))
    model = differentiate(classifier(nodes, "q" if tail else "p"))
    found = run(model, x=X, target=TARGET)
    np.testing.assert_allclose(found["grad_x"], EXPECTED, rtol=1e-6)
    np.testing.assert_allclose(found["score"], run(classifier(), x=X)["logits"][[0, 1], TARGET], rtol=1e-6)


def test_probability_keeps_the_softmax() -> None:
    model = differentiate(classifier([helper.make_node("Softmax", ["logits"], ["p"])], "p"), score="probability")
    found = run(model, x=X, target=TARGET)
    p = found["p"]
    one_hot = np.eye(4, dtype=np.float32)[TARGET]
    dlogits = p * (one_hot - (p * one_hot).sum(1, keepdims=True))
    np.testing.assert_allclose(found["grad_x"], 2 * X * (dlogits @ W.T), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["score"], p[[0, 1], TARGET])


def spatial(shape: list[int | str | None]) -> onnx.ModelProto:
    return build([helper.make_node("Mul", ["x", "x"], ["y"])], [("x", FLOAT, shape)], [("y", FLOAT, shape)])


@pytest.mark.parametrize(
    ("shape", "stated", "axis"),
    [
        (["N", 5, 6, 7], None, 1),
        (["N", 5, 6, 7], 2, 2),
        (["N", 5, 6, 7], -1, 3),
        (["N", 5, 6], None, 2),
        (["N", 5, 6], 1, 1),
        (["N", "h", "w", 3], None, 3),
        (["N", 5, 6, 7, 8], None, 1),
        (["N", "K"], None, 1),
        ([2, 5], None, 1),
    ],
)
def test_positions_other_than_the_class_are_summed(
    shape: list[int | str | None], stated: int | None, axis: int
) -> None:
    extents = {"N": 2, "h": 4, "w": 6, "K": 9}
    x = np.random.default_rng(0).standard_normal([extents.get(d, d) for d in shape]).astype(np.float32)
    target = np.array([1, 2])
    question = Target(at="all") if len(shape) > 2 else None
    found = run(differentiate(spatial(shape), question, class_axis=stated), x=x, target=target)
    mask = np.moveaxis(np.zeros_like(x), axis, 1)
    mask[[0, 1], target] = 1
    mask = np.moveaxis(mask, 1, axis)
    np.testing.assert_allclose(found["grad_x"], 2 * x * mask, rtol=1e-6)
    np.testing.assert_allclose(found["score"], (x * x * mask).reshape(2, -1).sum(1), rtol=1e-5)


def test_one_score_per_sample_is_class_zero() -> None:
    model = build([helper.make_node("Mul", ["x", "x"], ["y"])], [("x", FLOAT, ["N"])], [("y", FLOAT, ["N"])])
    found = run(differentiate(model), x=X[0], target=np.zeros(3, np.int64))
    np.testing.assert_allclose(found["grad_x"], 2 * X[0])
    with pytest.raises(Exception, match="GatherElements"):
        run(differentiate(model), x=X[0], target=np.ones(3, np.int64))


def two_inputs() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["ab"]),
        helper.make_node("Add", ["ab", "a"], ["y"]),
        helper.make_node("Neg", ["c"], ["z"]),
    ]
    three = [(n, FLOAT, ["N", 2]) for n in "abc"]
    return build(nodes, three, [("y", FLOAT, ["N", 2]), ("z", FLOAT, ["N", 2])])


def test_default_wrt_is_every_float_input_that_reaches_the_score() -> None:
    assert names(differentiate(two_inputs()).graph.output) == ["y", "z", "score", "grad_a", "grad_b"]
    assert names(differentiate(two_inputs(), tensor="z").graph.output) == ["y", "z", "score", "grad_c"]


def test_inner_tensors_serve_as_output_and_wrt() -> None:
    model = differentiate(two_inputs(), tensor="y", wrt=["ab", "b"], target="cotangent")
    a, b, c = (np.full((1, 2), v, np.float32) for v in (2, 3, 4))
    found = run(model, a=a, b=b, c=c, cotangent=np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(found["grad_ab"], [[1, 1]])
    np.testing.assert_array_equal(found["grad_b"], [[2, 2]])
    inner = differentiate(two_inputs(), tensor="ab")
    np.testing.assert_array_equal(run(inner, a=a, b=b, c=c, target=np.array([1]))["grad_a"], [[0, 3]])


def test_wrt_may_be_the_output_itself_and_a_weight() -> None:
    model = differentiate(classifier(), wrt=["logits", "W"], target="cotangent")
    c = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    found = run(model, x=X, cotangent=c)
    np.testing.assert_array_equal(found["grad_logits"], c)
    np.testing.assert_allclose(found["grad_W"], (X * X).T @ c, rtol=1e-5, atol=1e-6)


def test_integer_inputs_are_stood_in_for_by_the_first_floats() -> None:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "f"], ["y"]),
    ]
    model = build(nodes, [("pixels", TensorProto.UINT8, ["N", 3])], [("y", FLOAT, ["N", 3])])
    for wrt in (None, "pixels", "f"):
        found = differentiate(model, wrt=wrt)
        assert names(found.graph.output) == ["y", "score", "grad_f"]
    pixels = np.array([[3, 4, 5]], np.uint8)
    np.testing.assert_array_equal(run(found, pixels=pixels, target=np.array([1]))["grad_f"], [[0, 8, 0]])


def test_taken_names_get_a_suffix_that_the_metadata_tells() -> None:
    once = differentiate(classifier())
    twice = differentiate(once, tensor="grad_x", wrt="x")
    assert names(twice.graph.input) == ["x", "target", "target_2"]
    assert names(twice.graph.output) == ["logits", "score", "grad_x", "score_2", "grad_x_2"]
    metadata = {p.key: p.value for p in twice.metadata_props}
    assert metadata["onnxplain.target"] == "target_2"
    assert metadata["onnxplain.score"] == "score_2"
    assert metadata["onnxplain.grad.x"] == "grad_x_2"
    found = run(twice, x=X, target=TARGET, target_2=np.array([1, 1]))
    second = np.zeros_like(X)
    second[:, 1] = 2 * W[1, TARGET]
    np.testing.assert_allclose(found["grad_x_2"], second)


def test_inner_tensors_with_the_public_names_are_renamed() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["score"]),
        helper.make_node("Neg", ["score"], ["grad_x"]),
        helper.make_node("Neg", ["grad_x"], ["y"]),
    ]
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])])
    found = run(differentiate(model), x=X, target=np.array([0, 1]))
    np.testing.assert_allclose(found["grad_x"], 2 * X * np.eye(3, dtype=np.float32)[[0, 1]])


def test_original_metadata_and_model_stay() -> None:
    model = classifier()
    helper.set_model_props(model, {"author": "somebody"})
    before = model.SerializeToString()
    found = differentiate(model)
    assert model.SerializeToString() == before
    assert {p.key: p.value for p in found.metadata_props}["author"] == "somebody"


def test_zero_derivatives_become_zeros() -> None:
    nodes = [helper.make_node("Floor", ["x"], ["f"]), helper.make_node("Add", ["f", "c"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], {"c": np.ones(3, np.float32)})
    np.testing.assert_array_equal(run(differentiate(model), x=X, target=np.array([0, 1]))["grad_x"], np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [["N", 3, 4, 5], ["N", 6, 5, 3], ["N", 4, 5], ["N", 7]])
def test_saliency_output_is_reduced_and_normalised_in_the_graph(shape: list[int | str | None]) -> None:
    extents = {"N": 2}
    x = np.random.default_rng(1).standard_normal([extents.get(d, d) for d in shape]).astype(np.float32)
    cotangent = np.ones_like(x)
    x[1] = 0
    found = run(differentiate(spatial(shape), saliency=True, target="cotangent"), x=x, cotangent=cotangent)
    magnitude = np.abs(2 * x)
    if len(shape) == 4:
        magnitude = magnitude.max(1 if shape[1] == 3 else 3)
    magnitude[0] /= magnitude[0].max()
    np.testing.assert_allclose(found["saliency_x"], magnitude, rtol=1e-6)
    np.testing.assert_array_equal(found["saliency_x"][1], 0)


def test_operators_without_a_rule_are_refused_by_name() -> None:
    node = helper.make_node("Mystery", ["x"], ["y"], name="culprit", domain="com.example")
    model = build([node], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedOperatorError, match=r"com\.example::Mystery .*'culprit'"):
        differentiate(model)


def test_models_without_a_float_path_are_refused() -> None:
    argmax = build(
        [helper.make_node("ArgMax", ["x"], ["y"], axis=1)], [("x", FLOAT, ["N", 3])], [("y", INT64, ["N", 1])]
    )
    with pytest.raises(ModelError, match="no float path"):
        differentiate(argmax)
    constant = build(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("ConstantOfShape", ["s"], ["y"]),
        ],
        [("x", FLOAT, ["N", 3])],
        [("y", FLOAT, ["N", 3])],
    )
    with pytest.raises(ModelError, match="no float path"):
        differentiate(constant)
    with pytest.raises(ModelError, match="no float path leads from 'c'"):
        differentiate(two_inputs(), wrt="c")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"tensor": "nope"}, "no tensor named 'nope'.*'logits'"),
        ({"wrt": "nope"}, "'nope'.*'x'"),
        ({"wrt": []}, "wrt is empty"),
        ({"target": "nope"}, "None, a Target or 'cotangent'"),
        ({"score": "nope"}, "'logit' or 'probability'"),
        ({"class_axis": 0}, "class_axis=0"),
        ({"class_axis": 2}, "class_axis=2"),
        ({"saliency": True, "channel_axis": 5}, "channel_axis=5"),
        ({"saliency": True, "channel_axis": 0}, "channel_axis=0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        differentiate(classifier(), **arguments)  # type: ignore[arg-type]


def test_malformed_graphs_are_refused_as_model_errors() -> None:
    dangling = build([helper.make_node("Neg", ["absent"], ["y"])], [("x", FLOAT, [1])], [("y", FLOAT, [1])])
    wrong_type = build(
        [helper.make_node("Add", ["x", "i"], ["y"])],
        [("x", FLOAT, ["N", 3]), ("i", INT64, ["N", 3])],
        [("y", FLOAT, ["N", 3])],
    )
    twice = classifier([helper.make_node("Neg", ["x"], ["logits"])])
    for model in (dangling, wrong_type, twice):
        with pytest.raises(OnnxplainError):
            differentiate(model)


def test_result_is_checked_standard_and_without_dead_nodes() -> None:
    model = classifier()
    model.graph.node.append(helper.make_node("Neg", ["xx"], ["dead"]))
    found = differentiate(model)
    onnx.checker.check_model(found, full_check=True)
    assert {o.domain for o in found.opset_import} == {""}
    used = {name for node in found.graph.node for name in node.input} | set(names(found.graph.output))
    assert all(set(node.output) & used for node in found.graph.node)
    assert {i.name for i in found.graph.initializer} <= used
