"""A score has its output's own shape, whatever moved the axes behind the softmax or sigmoid that is looked through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, InputError, Target, differentiate
from onnxplain.autodiff.graph.io import read_model
from onnxplain.autodiff.targets.head import find_head

from support.graphs import build, run

FLOAT = TensorProto.FLOAT
SAMPLES, FEATURES, CLASSES = 2, 3, 4
W = np.random.default_rng(0).standard_normal((FEATURES, CLASSES)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((SAMPLES, FEATURES)).astype(np.float32)
TARGET = np.array([2, 1])


def everywhere(targets: Any) -> list[Target]:
    """The question for a class of each sample, summed over all positions."""
    return [Target(int(target), at="all") for target in targets]


def squared(tail: list[onnx.NodeProto], shape: Sequence[int | str], **constants: Any) -> onnx.ModelProto:
    """rows [N,4] = x * x @ W, then ``tail``, which ends in p; its scores and gradients can be written down."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["xx"]), helper.make_node("MatMul", ["xx", "W"], ["rows"]), *tail]
    arrays = {"W": W} | {name: np.array(value) for name, value in constants.items()}
    return build(nodes, [("x", FLOAT, ["N", FEATURES])], [("p", FLOAT, list(shape))], arrays)


def expect(model: onnx.ModelProto, **options: Any) -> None:
    """Score and gradient of the target are those of its row: (x * x @ W)[n,k] and 2 x W[:,k]."""
    found = run(differentiate(model, **options), x=X, target=TARGET)
    np.testing.assert_allclose(found["score"], (X * X @ W)[[0, 1], TARGET], rtol=1e-5)
    np.testing.assert_allclose(found["grad_x"], 2 * X * W[:, TARGET].T, rtol=1e-5)


def test_a_squeeze_behind_the_sigmoid_of_a_conv1d() -> None:
    weight = W.T[:, :, None].copy()
    model = build(
        [
            helper.make_node("Unsqueeze", ["x", "last"], ["signal"]),
            helper.make_node("Mul", ["signal", "signal"], ["squares"]),
            helper.make_node("Conv", ["squares", "C"], ["maps"]),
            helper.make_node("Sigmoid", ["maps"], ["chances"]),
            helper.make_node("Squeeze", ["chances", "last"], ["p"]),
        ],
        [("x", FLOAT, ["N", FEATURES])],
        [("p", FLOAT, ["N", CLASSES])],
        {"C": weight, "last": np.array([2])},
    )
    expect(model)


@pytest.mark.parametrize(
    "tail",
    [
        [helper.make_node("Flatten", ["chances"], ["p"], axis=1)],
        [helper.make_node("Reshape", ["chances", "flat"], ["p"])],
        [
            helper.make_node("Transpose", ["chances"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("Squeeze", ["turned", "one"], ["p"]),
        ],
    ],
    ids=["Flatten", "Reshape", "Transpose and Squeeze"],
)
def test_what_follows_the_sigmoid_of_a_column(tail: list[onnx.NodeProto]) -> None:
    """[N,K,1] has its classes in axis 1; the output [N,K] says so, the inner tensor does not."""
    head = [
        helper.make_node("Unsqueeze", ["rows", "two"], ["column"]),
        helper.make_node("Sigmoid", ["column"], ["chances"]),
    ]
    expect(squared([*head, *tail], ["N", CLASSES], one=[1], two=[2], flat=[0, -1]))


@pytest.mark.parametrize("options", [{}, {"class_axis": -1}, {"class_axis": 3}], ids=str)
@pytest.mark.parametrize("ending", ["Sigmoid", "Softmax"])
def test_a_class_axis_is_one_of_the_output(ending: str, options: dict[str, Any]) -> None:
    """[N,K,1,1] -> sigmoid -> [N,1,1,K]: axis -1 is stated of the output."""
    attributes = {"axis": 1} if ending == "Softmax" else {}
    tail = [
        helper.make_node("Unsqueeze", ["rows", "spatial"], ["maps"]),
        helper.make_node(ending, ["maps"], ["chances"], **attributes),
        helper.make_node("Transpose", ["chances"], ["p"], perm=[0, 2, 3, 1]),
    ]
    expect(squared(tail, ["N", 1, 1, CLASSES], spatial=[2, 3]), **options)


def test_a_stated_class_axis_of_many_positions() -> None:
    """x [N,4,2,3] -> sigmoid -> [N,2,3,4], whose last axis counts classes: their maps are summed."""
    x = np.random.default_rng(2).standard_normal((2, 4, 2, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["maps"]),
        helper.make_node("Sigmoid", ["maps"], ["chances"]),
        helper.make_node("Transpose", ["chances"], ["p"], perm=[0, 2, 3, 1]),
    ]
    model = build(nodes, [("x", FLOAT, ["N", 4, 2, 3])], [("p", FLOAT, ["N", 2, 3, 4])])
    found = np.asarray(Explainer(model, class_axis=-1).attribute(x, everywhere([3, 1])))
    expected = np.zeros_like(x)
    expected[0, 3], expected[1, 1] = 2 * x[0, 3], 2 * x[1, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_batch_is_that_of_the_output() -> None:
    """[K,N] -> sigmoid -> Transpose -> [N,K]."""
    tail = [
        helper.make_node("Transpose", ["rows"], ["turned"], perm=[1, 0]),
        helper.make_node("Sigmoid", ["turned"], ["chances"]),
        helper.make_node("Transpose", ["chances"], ["p"], perm=[1, 0]),
    ]
    expect(squared(tail, ["N", CLASSES]))


def folded(tail: list[onnx.NodeProto], shape: Sequence[int | str], **constants: Any) -> onnx.ModelProto:
    """x [N,T,3] -> rows of all steps [N*T,4] -> softmax -> [N,T,4], then ``tail``."""
    nodes = [
        helper.make_node("Reshape", ["x", "fold"], ["steps"]),
        helper.make_node("Mul", ["steps", "steps"], ["squares"]),
        helper.make_node("MatMul", ["squares", "W"], ["rows"]),
        helper.make_node("Softmax", ["rows"], ["chances"], axis=1),
        helper.make_node("Shape", ["x"], ["whole"]),
        helper.make_node("Gather", ["whole", "outer"], ["kept"]),
        helper.make_node("Concat", ["kept", "rest"], ["unfold"], axis=0),
        helper.make_node("Reshape", ["chances", "unfold"], ["by_step"]),
        *tail,
    ]
    arrays = {"W": W, "fold": np.array([-1, FEATURES]), "outer": np.array([0, 1]), "rest": np.array([CLASSES])}
    arrays |= {name: np.array(value) for name, value in constants.items()}
    return build(nodes, [("x", FLOAT, ["N", "T", FEATURES])], [("p", FLOAT, list(shape))], arrays)


STEPS = np.random.default_rng(3).standard_normal((SAMPLES, 5, FEATURES)).astype(np.float32)


def test_a_softmax_over_a_folded_batch() -> None:
    """All steps of a class, summed: every step has the gradient of its own row."""
    model = folded([helper.make_node("Identity", ["by_step"], ["p"])], ["N", "T", CLASSES])
    explainer = Explainer(model)
    found = np.asarray(explainer.attribute(STEPS, everywhere(TARGET)))
    np.testing.assert_allclose(found, 2 * STEPS * W[:, TARGET].T[:, None], rtol=1e-5)


def test_one_step_cut_out_behind_the_softmax() -> None:
    """The last step of [N,T,K] as [N,K]: the score is its logit, not its probability."""
    tail = [
        helper.make_node("Slice", ["by_step", "last", "end", "one"], ["step"]),
        helper.make_node("Squeeze", ["step", "one"], ["p"]),
    ]
    model = folded(tail, ["N", CLASSES], last=[-1], end=[2**62], one=[1])
    found = run(differentiate(model), x=STEPS, target=TARGET)
    np.testing.assert_allclose(found["score"], (STEPS[:, -1] ** 2 @ W)[[0, 1], TARGET], rtol=1e-5)
    expected = np.zeros_like(STEPS)
    expected[:, -1] = 2 * STEPS[:, -1] * W[:, TARGET].T
    np.testing.assert_allclose(found["grad_x"], expected, rtol=1e-5, atol=1e-7)


def test_the_joint_softmax_of_old_opsets() -> None:
    """Below opset 13 a softmax of [N,K,H,W] with axis 2 is one over H and W together: heat maps of K key points."""
    x = np.random.default_rng(4).standard_normal((2, 4, 2, 3)).astype(np.float32)
    nodes = [helper.make_node("Mul", ["x", "x"], ["maps"]), helper.make_node("Softmax", ["maps"], ["p"], axis=2)]
    model = build(nodes, [("x", FLOAT, ["N", 4, 2, 3])], [("p", FLOAT, ["N", 4, 2, 3])], opset=12)
    found = np.asarray(Explainer(model, class_axis=1).attribute(x, everywhere([3, 1])))
    expected = np.zeros_like(x)
    expected[0, 3], expected[1, 1] = 2 * x[0, 3], 2 * x[1, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("ending", [None, "Softmax"])
def test_steps_in_front_of_the_batch(ending: str | None, batch_size: int | None) -> None:
    """x [N,T,3] -> logits [T,N,4]: the batch is the axis that has the name of the input's."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("Mul", ["steps", "steps"], ["squares"]),
        helper.make_node("MatMul", ["squares", "W"], ["logits"]),
        helper.make_node(ending or "Identity", ["logits"], ["p"], **({"axis": 2} if ending else {})),
    ]
    model = build(nodes, [("x", FLOAT, ["N", "T", FEATURES])], [("p", FLOAT, ["T", "N", CLASSES])], {"W": W})
    explainer = Explainer(model, batch_size=batch_size)
    with pytest.raises(InputError, match="places"):
        explainer.scores(STEPS)
    found = np.asarray(explainer.attribute(STEPS, everywhere(TARGET)))
    np.testing.assert_allclose(found, 2 * STEPS * W[:, TARGET].T[:, None], rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_fixed_number_of_steps_is_no_batch(steps: int) -> None:
    """x [N,3,3] -> [3,N,4]: the extent of the steps is a number, and still axis 1 is the batch."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Mul", ["turned", "turned"], ["squares"]),
        helper.make_node("MatMul", ["squares", "W"], ["p"]),
    ]
    model = build(nodes, [("x", FLOAT, ["N", steps, FEATURES])], [("p", FLOAT, [steps, "N", CLASSES])], {"W": W})
    x, explainer = STEPS[:, :steps], Explainer(model)
    assert explainer.batch is None
    found = np.asarray(explainer.attribute(x, everywhere(TARGET)))
    np.testing.assert_allclose(found, 2 * x * W[:, TARGET].T[:, None], rtol=1e-5)


def test_a_batch_of_a_number_beside_named_rows_and_columns() -> None:
    """[2,3,H,W] -> softmax over classes: the batch is the first axis, no row and no column."""
    x = np.random.default_rng(4).standard_normal((2, 3, 4, 5)).astype(np.float32)
    nodes = [helper.make_node("Mul", ["x", "x"], ["maps"]), helper.make_node("Softmax", ["maps"], ["p"], axis=1)]
    model = build(nodes, [("x", FLOAT, [2, 3, "H", "W"])], [("p", FLOAT, [2, 3, "H", "W"])])
    found = run(differentiate(model, Target(at="all")), x=x, target=np.array([2, 0]))
    np.testing.assert_allclose(found["score"], [np.sum(x[0, 2] ** 2), np.sum(x[1, 0] ** 2)], rtol=1e-5)


@pytest.mark.parametrize(("name", "samples"), [("N", 3), ("batch_size", 3), ("s0", 3)])
def test_a_batch_behind_the_steps_that_are_gone(name: str, samples: int) -> None:
    """[T,N,F] -> the last step [N,F]: the inputs' second axis is the batch, whatever it is called."""
    x = np.random.default_rng(5).standard_normal((4, samples, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["steps"]),
        helper.make_node("Gather", ["steps", "last"], ["y"], axis=0),
    ]
    model = build(nodes, [("x", FLOAT, ["T", name, 2])], [("y", FLOAT, [name, 2])], {"last": np.array(-1)})
    found = run(differentiate(model), x=x, target=np.array([0, 1, 0]))
    np.testing.assert_allclose(found["score"], x[3, [0, 1, 2], [0, 1, 0]] ** 2, rtol=1e-5)


@pytest.mark.parametrize("tail", [["Unsqueeze"], ["Unsqueeze", "Squeeze"], ["Unsqueeze", "Reshape"]], ids="-".join)
def test_a_softmax_of_one_class_keeps_its_axis(tail: list[str]) -> None:
    """[N,1,5] -> softmax -> [N,1,1,5] or back: five places of one class, whatever else has one element."""
    x = np.random.default_rng(6).standard_normal((2, 1, 5)).astype(np.float32)
    nodes, name = [helper.make_node("Softmax", ["x"], ["p0"], axis=1)], "p0"
    for index, op_type in enumerate(tail):
        more = "flat" if op_type == "Reshape" else "two"
        nodes.append(helper.make_node(op_type, [name, more], [f"p{index + 1}"]))
        name = f"p{index + 1}"
    shape = ["N", 1, 1, 5] if len(tail) == 1 else ["N", 1, 5]
    arrays = {"two": np.array([2]), "flat": np.array([0, 1, 5])}
    model = build(nodes, [("x", FLOAT, ["N", 1, 5])], [(name, FLOAT, shape)], arrays)
    found = run(differentiate(model, Target(at="all")), x=x, target=np.array([0, 0]))
    np.testing.assert_allclose(found["score"], np.sum(x, axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_a_softmax_whose_axis_a_reshape_takes_apart() -> None:
    """[N,2,6] -> softmax over 2 -> [N,6,2]: the last axis has two elements, but is not the one of before."""
    nodes = [helper.make_node("Softmax", ["x"], ["p0"], axis=1), helper.make_node("Reshape", ["p0", "turned"], ["p"])]
    arrays = {"turned": np.array([0, 6, 2])}
    head = find_head(
        read_model(build(nodes, [("x", FLOAT, ["N", 2, 6])], [("p", FLOAT, ["N", 6, 2])], arrays)).graph.outputs[0]
    )
    assert head.class_axis() is None


@pytest.mark.parametrize("target", [[2, -1, 4], [2, 2, -1], [-1, 2, 4]])
def test_a_batch_of_a_number_stays_in_front_when_reshaped_to_numbers(target: list[int]) -> None:
    """x [2,8] -> [2,2,4]: the first axis is the batch, whichever extent the reshape leaves open."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("Reshape", ["squares", "shape"], ["out"]),
    ]
    model = build(nodes, [("x", FLOAT, [2, 8])], [("out", FLOAT, [2, 2, 4])], {"shape": np.array(target)})
    x = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    found = run(differentiate(model, Target(0, at="all"), class_axis=2), x=x, target=np.array([1, 3]))
    rows = (x * x).reshape(2, 2, 4)
    np.testing.assert_allclose(found["score"], [rows[0, :, 1].sum(), rows[1, :, 3].sum()], rtol=1e-5)
