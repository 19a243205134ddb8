"""Places of an output: what a target that names no class means there, and places that no output has."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from onnxplain import Box, Explainer, Target, TargetError

from support.small_models import build

LABELS = ["a", "b", "c"]
#: Three steps of three classes: the last one, the blank, is the surest at most of them.
STEPS = np.array([[[1, 3, 9], [4, 2, 8], [1, 2, 7]]], np.float32)
#: Three rows of box, score and class; there is no "c".
ROWS = np.array([[[1, 1, 4, 4, 0.9, 0], [2, 2, 6, 6, 0.8, 1], [0, 0, 8, 8, 0.3, 1]]], np.float32)


def same(shape: list[int | str], metadata: dict[str, str] | None = None) -> ModelProto:
    """x times one: the output is the input, and a gradient the weights of the places."""
    spec = (TensorProto.FLOAT, shape)
    nodes = [helper.make_node("Mul", ["x", "one"], ["y"])]
    return build(nodes, [("x", *spec)], [("y", *spec)], {"one": np.ones(1, np.float32)}, metadata)


@pytest.fixture(scope="module")
def ctc() -> Explainer:
    return Explainer(same(["N", 3, 3]), layout={"name": "ctc", "blank": 2}, labels=LABELS)


@pytest.fixture(scope="module")
def chosen() -> Explainer:
    return Explainer(same(["N", 3, 6]), layout={"name": "yolov8_nms", "classes": 3}, labels=LABELS)


@pytest.fixture(scope="module")
def segmentation() -> Explainer:
    recipe = {"version": 1, "resize": "shortest", "size": 12, "crop": 8}
    metadata = {"onnxplain.preprocessing": json.dumps(recipe)}
    return Explainer(same(["N", 3, 8, 8], metadata), layout="segmentation", labels=LABELS)


def test_the_surest_step_of_a_ctc_is_none_of_the_blank(ctc: Explainer) -> None:
    expected = np.zeros_like(STEPS)
    expected[0, 1, 0] = 1
    np.testing.assert_array_equal(ctc.attribute(STEPS, Target(at="best")), expected)
    blank = np.zeros_like(STEPS)
    blank[0, 0, 2] = 1
    np.testing.assert_array_equal(ctc.attribute(STEPS, Target("c", at="best")), blank)


def test_the_region_of_no_class_in_particular_is_none_of_the_blank(ctc: Explainer) -> None:
    read = STEPS.copy()
    read[0, 1, 1] = 20
    expected = np.zeros_like(STEPS)
    expected[0, 1, 1] = 1
    np.testing.assert_array_equal(ctc.attribute(read, Target(at="own")), expected)
    with pytest.raises(TargetError, match="predicted nowhere in sample 0"):
        ctc.attribute(STEPS, Target(at="own"))
    first = Explainer(same(["N", 3, 3]), layout={"name": "ctc", "blank": 0})
    with pytest.raises(TargetError, match="predicted nowhere in sample 0"):
        first.attribute(STEPS[:, :, ::-1].copy(), Target(at="own"))


def test_a_class_that_a_detector_does_not_find_has_no_surest_detection(chosen: Explainer) -> None:
    expected = np.zeros_like(ROWS)
    expected[0, 1, 4] = 1
    np.testing.assert_array_equal(chosen.attribute(ROWS, Target("b", at="best")), expected)
    with pytest.raises(TargetError, match=r"^c is found nowhere in sample 0; detect\(\) lists what is found\.$"):
        chosen.attribute(ROWS, Target("c", at="best"))
    with pytest.raises(TargetError, match=r"^c is found nowhere within Box\(.*\) in sample 0"):
        chosen.attribute(ROWS, Target("c", at=Box(1, 1, 4, 4)))


def test_a_mask_is_in_the_pixels_of_a_photo_that_is_as_large_as_the_output(segmentation: Explainer) -> None:
    photo, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool)
    mask[:, 6:] = True  # behind column 7 of the model's 12 - 4, since 1.5 of its pixels are one of the photo
    found = segmentation.explain(photo, Target("a", at=mask)).attribution[0]
    np.testing.assert_allclose(found[:, :6], 0)
    np.testing.assert_allclose(found[:, 6:], [[1 / 6, 5 / 6]] * 8, atol=1e-6)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ((1, 2, 3), r"the places of the output are \[8, 8\]: give at= a mask"),
        ((1.5, 2), "two whole numbers"),
        ((True, 2), "two whole numbers"),
        (((0, 1), (1, 0)), "two whole numbers"),
        ([[1, 2], [3]], "rows have different lengths"),
        (-np.ones((8, 8)), "above zero somewhere"),
    ],
)
def test_places_that_are_none(segmentation: Explainer, at: Any, message: str) -> None:
    x = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(TargetError, match=message):
        segmentation.attribute(x, Target("a", at=at))
