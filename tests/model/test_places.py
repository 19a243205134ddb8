"""Places of an output: what a target that names no class means there, and places that no output has."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from onnxplain import Box, Explainer, InputError, Target, TargetError

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


@pytest.mark.parametrize("name", ["y", "x"])
def test_a_detector_is_asked_about_the_outputs_of_its_layout(name: str) -> None:
    """The output that holds the detections may be named; another tensor was passed over in silence."""
    layout = {"name": "yolov8_nms", "classes": 3}
    chosen, asked = Explainer(same(["N", 3, 6]), layout=layout), Target(0, at="best", output=name)
    if name == "y":
        np.testing.assert_array_equal(chosen.attribute(ROWS, asked), chosen.attribute(ROWS, Target(0, at="best")))
        return
    message = r"^the layout 'yolov8_nms' says that detections are explained, of 'y', and not the tensor 'x': "
    with pytest.raises(InputError, match=message):
        chosen.attribute(ROWS, asked)
    with pytest.raises(InputError, match=message):
        Explainer(same(["N", 3, 6]), layout=layout, tensor=name)


def test_a_number_of_a_detection_is_refused_by_methods_that_compare_scores(chosen: Explainer) -> None:
    with pytest.raises(InputError, match=r"'box\.width' is no class: methods that compare scores do not take it"):
        chosen.attribute(ROWS, Target("box.width", at=0), "smoothgrad")
    found = chosen.attribute(ROWS, Target("box.width", at=0), "gradient_x_input")
    np.testing.assert_allclose(found[0, 0], [-1, 0, 4, 0, 0, 0])


def test_a_mask_of_a_photo_needs_rows_and_columns() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    image, rows = (TensorProto.FLOAT, ["N", 3, 2, 3]), (TensorProto.FLOAT, ["N", 3, 6])
    model = build(nodes, [("x", *image)], [("y", *rows)], {"shape": np.array([-1, 3, 6], np.int64)})
    recipe = {"resize": "exact", "size": [2, 3]}
    detector = Explainer(model, layout={"name": "yolov8_nms", "classes": 3}, preprocessing=recipe)
    photo = np.full((2, 3, 3), 255, np.uint8)
    with pytest.raises(TargetError, match=r"a mask \[2, 3\] of a photo, and the places of the output are \[3\]"):
        detector.explain(photo, Target(1, at=np.ones((2, 3), bool)))


def test_no_picture_is_made_of_a_class_at_places(segmentation: Explainer) -> None:
    with pytest.raises(InputError, match=r"'y' has scores of classes at several places; make one of a channel"):
        segmentation.visualize_class(0)
