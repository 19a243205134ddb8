"""A class index out of range fails in every form of the file, and never has a score without its gradient."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, Target, TargetError, differentiate

from support import small_models as small
from support.graphs import classifier, run

FORMS = ["portable", "cpu", "cpu_shared", "cuda", "openvino"]
X = np.array([[1, 2, -1], [0.5, -2, 3]], np.float32)
FLOAT = TensorProto.FLOAT


def maps() -> onnx.ModelProto:
    """x [N,3], squared, as maps [N,3,1,2] of two positions."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("Unsqueeze", ["squares", "axes"], ["column"]),
        helper.make_node("Concat", ["column", "column"], ["y"], axis=3),
    ]
    return small.build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3, 1, 2])], {"axes": np.array([2, 3])})


def one_score() -> onnx.ModelProto:
    """x [N,3] -> [N]."""
    node = helper.make_node("ReduceSumSquare", ["x", "axes"], ["y"], keepdims=0)
    return small.build([node], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N"])], {"axes": np.array([1])})


#: A model, the number of its classes, and the question.
MODELS = {
    "logits": (classifier(), 4, None),
    "softmax": (classifier([helper.make_node("Softmax", ["logits"], ["p"], axis=1)], "p"), 4, None),
    "maps": (maps(), 3, Target(at="all")),
    "one score": (one_score(), 1, None),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("wrong", ["-1", "-K", "-K-1", "K", "large"])
def test_an_index_out_of_range_fails(wrong: str, kind: str, form: str) -> None:
    """One sample with a wrong class is enough; the other has a right one."""
    model, classes, question = MODELS[kind]
    index = {"-1": -1, "-K": -classes, "-K-1": -classes - 1, "K": classes, "large": 2**40}[wrong]
    with pytest.raises(Exception, match=r"(?i)index|indices|target|range|bounds"):  # what a runtime says is its own
        run(differentiate(model, question, form=form), x=X, target=np.array([0, index]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", MODELS)
def test_every_index_in_range_has_its_gradient(kind: str, form: str) -> None:
    """What must stay: score and gradient of each class belong together, by differences of the score itself."""
    model, classes, question = MODELS[kind]
    made = differentiate(model, question, form=form)
    for index in range(classes):
        target = np.array([index, 0])
        found, step = run(made, x=X, target=target), np.float32(2**-6)
        difference = run(made, x=X + step, target=target)["score"] - run(made, x=X - step, target=target)["score"]
        np.testing.assert_allclose(found["grad_x"].sum(axis=1), difference / (2 * step), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("index", [-1, 4])
def test_the_front_door_refuses_it_by_name(index: int) -> None:
    with pytest.raises(TargetError, match=f"target {index} is out of range"):
        Explainer(classifier()).attribute(X, index)
