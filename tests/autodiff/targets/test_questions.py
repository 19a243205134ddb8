"""Every question: its gradient is that of a cotangent made by hand, and that of differences of its own score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain import Box, Target
from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES

from support import detectors
from support.graphs import FLOAT, build, run

Array = np.ndarray[Any, np.dtype[Any]]
SAMPLES = np.arange(2)
CLASS, OTHER = np.array([2, 4]), np.array([0, 3])
CHANNELS, HIDDEN, CLASSES, SIDE, STEPS = 3, 4, 5, 6, 7


def numbers(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def smooth(extents: tuple[int, ...], tail: list[onnx.NodeProto], last: list[int | str | None]) -> onnx.ModelProto:
    """x -> Conv -> Tanh -> Conv -> ``tail``: smooth, and every place depends on its neighbours."""
    window = (3,) * len(extents)
    nodes = [
        helper.make_node("Conv", ["x", "A"], ["hidden"], pads=[1] * 2 * len(extents)),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("Conv", ["bent", "B"], ["maps"], pads=[1] * 2 * len(extents)),
    ]
    constants = {"A": 0.4 * numbers(1, HIDDEN, CHANNELS, *window), "B": 0.4 * numbers(2, CLASSES, HIDDEN, *window)}
    shape: list[int | str | None] = ["N", CHANNELS, *extents]
    return build([*nodes, *tail], [("x", FLOAT, shape)], [("y", FLOAT, last)], constants)


def classifier() -> onnx.ModelProto:
    """[N,K]"""
    return smooth((SIDE, SIDE), [helper.make_node("ReduceMean", ["maps", "axes"], ["y"], keepdims=0)], ["N", CLASSES])


def with_axes(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    return model


def segmentation() -> onnx.ModelProto:
    """[N,K,h,w]"""
    return smooth((SIDE, SIDE), [helper.make_node("Identity", ["maps"], ["y"])], ["N", CLASSES, SIDE, SIDE])


def sequence() -> onnx.ModelProto:
    """[N,T,K]"""
    return smooth((STEPS,), [helper.make_node("Transpose", ["maps"], ["y"], perm=[0, 2, 1])], ["N", STEPS, CLASSES])


def time_first() -> onnx.ModelProto:
    """[T,N,K]"""
    return smooth((STEPS,), [helper.make_node("Transpose", ["maps"], ["y"], perm=[2, 0, 1])], [STEPS, "N", CLASSES])


def detector() -> onnx.ModelProto:
    """[N,4+K,A], of "yolov8", with the box, the classes, and no activation behind them."""
    return detectors.FAMILIES["yolov8"].build()


@dataclass(frozen=True)
class Question:
    """A question of a model, the values of its inputs, and the cotangent of y that is its derivative."""

    model: Callable[[], onnx.ModelProto]
    asked: Target
    layout: Any
    inputs: Mapping[str, Array]
    cotangent: Callable[[Array], Array]


def one_hot(like: Array, *index: Any) -> Array:
    found = np.zeros_like(like)
    found[index] = 1
    return found


def cosine(y: Array, reference: Array) -> Array:
    """The derivative of the cosine of y [N,D] with a reference [N,D], in float64."""
    y, reference = y.astype(np.float64), reference.astype(np.float64)
    length, other = (np.sqrt((v * v).sum(1, keepdims=True)) for v in (y, reference))
    value = (y * reference).sum(1, keepdims=True) / (length * other)
    found: Array = reference / (length * other) - value * y / length**2
    return found


def own(y: Array) -> Array:
    """Where the class is the one with the highest score."""
    return (y.argmax(1)[:, None] == CLASS[:, None, None, None]) * one_hot(y, SAMPLES, CLASS)


def surest(y: Array) -> Array:
    """The step at which the class has its highest score."""
    return one_hot(y, SAMPLES, y[SAMPLES, :, CLASS].argmax(1), CLASS)


STEP, PLACE = np.array([[1], [5]]), np.array([[3], [17]])
MASKS = np.abs(numbers(3, 2, SIDE, SIDE))
REFERENCE, AGAINST = numbers(4, 2, CLASSES), numbers(5, 2, CLASSES)
WEIGHTS = numbers(6, 2, CLASSES, SIDE, SIDE)
target, contrast = {"target": CLASS}, {"target": CLASS, "contrast": OTHER}


def embedding() -> onnx.ModelProto:
    return with_axes(classifier())


def boxes(y: Array) -> Array:
    """Of the rows of a YOLOv8 [N,4+K,A] (centre and size) the corners [N,A,4]."""
    centre, size = y[:, :2].transpose(0, 2, 1), y[:, 2:4].transpose(0, 2, 1)
    return np.concatenate([centre - size / 2, centre + size / 2], 2)


def in_a_box(y: Array) -> Array:
    """The detection that is surest of the class times its overlap with the box."""
    sure, corners, given = y[SAMPLES, 4 + CLASS % detectors.CLASSES], boxes(y), BOXES[:, None]
    low, high = np.maximum(corners[..., :2], given[..., :2]), np.minimum(corners[..., 2:], given[..., 2:])
    shared = np.maximum(high - low, 0).prod(2)
    areas = [(b[..., 2:] - b[..., :2]).prod(2) for b in (corners, given)]
    at = (sure * shared / (areas[0] + areas[1] - shared)).argmax(1)
    assert at[0] != at[1]
    return one_hot(y, SAMPLES, 4 + CLASS % detectors.CLASSES, at)


BOXES = np.array([[0, 0, 7, 8], [8, 7, 16, 16]], np.float32)

QUESTIONS = {
    "class": Question(embedding, Target(0), None, target, lambda y: one_hot(y, SAMPLES, CLASS)),
    "rather than": Question(
        embedding,
        Target(0, versus=1),
        None,
        contrast,
        lambda y: one_hot(y, SAMPLES, CLASS) - one_hot(y, SAMPLES, OTHER),
    ),
    "point or mask": Question(
        segmentation,
        Target(0, at=(1, 2)),
        "segmentation",
        {**target, "region": MASKS},
        lambda y: one_hot(y, SAMPLES, CLASS) * MASKS[:, None],
    ),
    "own region": Question(segmentation, Target(0, at="own"), "segmentation", target, own),
    "everywhere": Question(
        segmentation, Target(0, at="all"), "segmentation", target, lambda y: one_hot(y, SAMPLES, CLASS)
    ),
    "one class here, another there": Question(
        segmentation,
        Target(0, at=(1, 2), versus=Target(1, at=(3, 3))),
        "segmentation",
        {**contrast, "region": MASKS, "contrast_region": MASKS[::-1].copy()},
        lambda y: one_hot(y, SAMPLES, CLASS) * MASKS[:, None] - one_hot(y, SAMPLES, OTHER) * MASKS[::-1, None],
    ),
    "step": Question(
        sequence,
        Target(0, at=0),
        "sequence",
        {**target, "position": STEP},
        lambda y: one_hot(y, SAMPLES, STEP[:, 0], CLASS),
    ),
    "surest step": Question(sequence, Target(0, at="best"), "sequence", target, surest),
    "step of a CTC": Question(
        time_first,
        Target(0, at=0),
        "ctc",
        {**target, "position": STEP},
        lambda y: one_hot(y, STEP[:, 0], SAMPLES, CLASS),
    ),
    "step rather than another class": Question(
        sequence,
        Target(0, at=0, versus=1),
        "sequence",
        {**contrast, "position": STEP},
        lambda y: one_hot(y, SAMPLES, STEP[:, 0], CLASS) - one_hot(y, SAMPLES, STEP[:, 0], OTHER),
    ),
    "alike": Question(
        embedding, Target(like=np.ones(CLASSES)), "embedding", {"reference": REFERENCE}, lambda y: cosine(y, REFERENCE)
    ),
    "more like this than that": Question(
        embedding,
        Target(like=np.ones(CLASSES), versus=Target(like=np.ones(CLASSES))),
        "embedding",
        {"reference": REFERENCE, "contrast_reference": AGAINST},
        lambda y: cosine(y, REFERENCE) - cosine(y, AGAINST),
    ),
    "weighted sum": Question(
        segmentation,
        Target(weights=np.ones((CLASSES, SIDE, SIDE))),
        None,
        {"cotangent": WEIGHTS},
        lambda y: WEIGHTS,
    ),
    "box": Question(
        detector,
        Target(0, at=Box(0, 0, 1, 1)),
        "yolov8",
        {"target": CLASS % detectors.CLASSES, "box": BOXES},
        in_a_box,
    ),
    "width of a box": Question(
        detector,
        Target("box.width", at=0),
        "yolov8",
        {"position": PLACE},
        lambda y: one_hot(y, SAMPLES, 2, PLACE[:, 0]),
    ),
}


def image(model: onnx.ModelProto) -> Array:
    extents = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return numbers(7, 2, *(extent or detectors.SIDE for extent in extents))


def answer(question: Question, form: str) -> tuple[onnx.ModelProto, Array, dict[str, Array]]:
    """The differentiated model, an input of two samples, and what it returns for them."""
    model = question.model()
    made = differentiate(model, question.asked, layout=question.layout, form=form)
    x = image(model)
    return made, x, run(made, x=x, **question.inputs)


@pytest.mark.parametrize("form", PASSES)
@pytest.mark.parametrize("name", QUESTIONS)
def test_gradient_is_that_of_a_cotangent_by_hand(name: str, form: str) -> None:
    question = QUESTIONS[name]
    _, x, found = answer(question, form)
    model = question.model()
    output = model.graph.output[0].name
    cotangent = question.cotangent(found[output].astype(np.float64)).astype(np.float32)
    by_hand = run(differentiate(model, "cotangent", tensor=output), x=x, cotangent=cotangent)["grad_x"]
    assert np.abs(by_hand).max(axis=(*range(1, x.ndim),)).min() > 0
    assert abs(found["grad_x"] - by_hand).max() <= 1e-6 * abs(by_hand).max()


@pytest.mark.parametrize("name", QUESTIONS)
def test_gradient_is_that_of_differences_of_the_score(name: str) -> None:
    question = QUESTIONS[name]
    made, x, found = answer(question, "portable")
    direction, step = numbers(8, *x.shape), 3e-3
    ends = [run(made, x=x + sign * step * direction, **question.inputs)["score"] for sign in (1.0, -1.0)]
    slope = (ends[0].astype(np.float64) - ends[1]) / (2 * step)
    expected = (found["grad_x"].astype(np.float64) * direction).reshape(len(x), -1).sum(1)
    assert slope == pytest.approx(expected, rel=1e-3, abs=1e-3 * abs(expected).max())


@pytest.mark.parametrize("name", QUESTIONS)
def test_two_samples_are_as_one_by_one(name: str) -> None:
    question = QUESTIONS[name]
    made, x, both = answer(question, "portable")
    for row in SAMPLES:
        alone = run(made, x=x[row : row + 1], **{key: value[row : row + 1] for key, value in question.inputs.items()})
        assert abs(alone["grad_x"][0] - both["grad_x"][row]).max() <= 1e-6 * abs(both["grad_x"][row]).max()
        assert alone["score"][0] == pytest.approx(both["score"][row], rel=1e-5)


@pytest.mark.parametrize(
    "target", [Target(at=0), Target(at="all"), Target(like=[0.0]), Target(weights=np.zeros(1))], ids=repr
)
def test_only_the_models_own_inputs_have_gradients(target: Target) -> None:
    """The question's inputs are floats, too, and the score depends on them."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"])]
    shape = ["N", 5] if target.at is None else ["N", 4, 5]
    model = build(nodes, [("x", FLOAT, shape)], [("y", FLOAT, shape)])
    outputs = [value.name for value in differentiate(model, target).graph.output]
    assert outputs == ["y", "score", "grad_x"]
