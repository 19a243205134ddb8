"""Detectors: every family is decoded as NumPy decodes it, and its gradients are those of a cotangent made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import InputError, TargetError
from onnxplain.autodiff import differentiate
from onnxplain.autodiff.differentiate import add_gradients
from onnxplain.autodiff.graph.io import read_model, write_model
from onnxplain.autodiff.request import Request
from onnxplain.layout import find_layout
from onnxplain.target import Box, Target

from support import detectors
from support.detections import close, everything, image, iou
from support.detectors import CELLS, CLASSES, FAMILIES, SIDE, STRIDES, Array
from support.graphs import run

SOMEWHERE = Box(0, 0, 1, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_decoded_as_by_numpy(name: str) -> None:
    family = FAMILIES[name]
    found = everything(family.build(), family.layout, image(family.batch))
    expected = family.read({k: v.astype(np.float64) for k, v in found.items()})
    assert close(found["our boxes"], expected.boxes)
    assert close(found["our confidence"], expected.confidence)
    value = found["our scores"] - found["our scores"].mean(2, keepdims=True) if family.free else found["our scores"]
    wanted = expected.value - expected.value.mean(2, keepdims=True) if family.free else expected.value
    assert close(value, wanted, 1e-5)


def gradient(model: onnx.ModelProto, asked: Target, layout: Any, x: Array, **inputs: Any) -> dict[str, Array]:
    """What the differentiated model returns."""
    return run(differentiate(model, asked, layout=layout), x=x, **inputs)


def by_hand(model: onnx.ModelProto, x: Array, **cotangents: Array) -> Array:
    """The sum of the gradients from cotangents of tensors."""
    made = [
        run(differentiate(model, "cotangent", tensor=tensor), x=x, cotangent=cotangent.astype(np.float32))["grad_x"]
        for tensor, cotangent in cotangents.items()
    ]
    return np.sum(made, axis=0, dtype=np.float64)


POSITION, CLASS = np.array([[3], [17]]), np.array([2, 1])
SAMPLES = np.arange(2)


def one_hot(shape: tuple[int, ...], *index: Any) -> Array:
    found = np.zeros(shape)
    found[index] = 1
    return found


def product_cotangent(rows: Array) -> Array:
    """Of objectness times class, in rows [N,A,5+K]."""
    found, at = np.zeros(rows.shape), POSITION[:, 0]
    found[SAMPLES, at, 4] = rows[SAMPLES, at, 5 + CLASS]
    found[SAMPLES, at, 5 + CLASS] = rows[SAMPLES, at, 4]
    return found


def cotangents(name: str, outputs: dict[str, Array]) -> dict[str, Array]:
    """By tensor, the derivative of the score of CLASS at POSITION."""
    at, rows = POSITION[:, 0], outputs.get("out", np.zeros(0))
    if name in ("yolov5", "yolox"):
        return {"out": product_cotangent(rows)}
    if name == "yolov8":
        return {"out": one_hot(rows.shape, SAMPLES, 4 + CLASS, at)}
    if name in ("ssd", "detr"):
        return {"logits": one_hot((2, CELLS, CLASSES + 1), SAMPLES, at, CLASS)}
    fine = (SIDE // STRIDES[0]) ** 2
    return {
        "logits_4": one_hot((2, fine, CLASSES), 0, at[0], CLASS[0]),
        "logits_8": one_hot((2, CELLS - fine, CLASSES), 1, at[1] - fine, CLASS[1]),
    }


@pytest.mark.parametrize("name", ["yolov5", "yolov8", "yolox", "ssd", "detr", "nanodet"])
def test_gradient_of_a_position_is_that_of_a_cotangent_by_hand(name: str) -> None:
    family, x = FAMILIES[name], image()
    model = family.build()
    found = gradient(model, Target(0, at=0), family.layout, x, target=CLASS, position=POSITION)
    assert close(found["grad_x"], by_hand(model, x, **cotangents(name, found)))
    fixed = family.build((2, 3, SIDE, SIDE))
    again = gradient(fixed, Target(0, at=0), family.layout, x, target=CLASS, position=POSITION)
    assert np.array_equal(again["grad_x"], found["grad_x"])


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_of_the_best_is_that_of_differences(name: str) -> None:
    family, x = FAMILIES[name], image(FAMILIES[name].batch)
    chosen = np.arange(family.batch) + 1
    model = differentiate(family.build(), Target(0, at="best"), layout=family.layout)
    found = run(model, x=x, target=chosen)
    direction = np.random.default_rng(4).standard_normal(x.shape).astype(np.float32)
    step = 1e-3
    ends = [run(model, x=x + sign * step * direction, target=chosen) for sign in (1, -1)]
    assert np.array_equal(ends[0]["at"], found["at"])
    slope = (ends[0]["score"].astype(np.float64) - ends[1]["score"]) / (2 * step)
    assert slope == pytest.approx((found["grad_x"] * direction).sum((1, 2, 3)), rel=1e-2, abs=2e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_best_and_box_choose_as_numpy(name: str) -> None:
    family, x = FAMILIES[name], image(FAMILIES[name].batch)
    wanted = CLASS[: family.batch]
    decoded = family.read(everything(family.build(), family.layout, x))
    sure = decoded.confidence[np.arange(family.batch), :, wanted]
    best = gradient(family.build(), Target(0, at="best"), family.layout, x, target=wanted)
    assert best["at"].tolist() == sure.argmax(1)[:, None].tolist()
    value = decoded.value[np.arange(family.batch), sure.argmax(1), wanted]
    if not family.free:
        assert best["score"] == pytest.approx(value, rel=1e-5)
    second = sure.argsort(1)[:, -2]
    box = decoded.boxes[np.arange(family.batch), second].astype(np.float32)
    near = np.stack([s * iou(b, one) for s, b, one in zip(sure, decoded.boxes, box)])
    found = gradient(family.build(), Target(0, at=SOMEWHERE), family.layout, x, target=wanted, box=box)
    assert found["at"].tolist() == near.argmax(1)[:, None].tolist()
    assert best["at"].tolist() != found["at"].tolist()


def test_samples_of_a_batch_do_not_mix() -> None:
    x, box = image(), np.array([[2, 1, 9, 8], [6, 5, 15, 15]], np.float32)
    model = differentiate(detectors.yolov8(), Target(0, at=SOMEWHERE), layout="yolov8")
    both = run(model, x=x, target=CLASS, box=box)
    for n in SAMPLES:
        alone = run(model, x=x[n : n + 1], target=CLASS[n : n + 1], box=box[n : n + 1])
        assert close(alone["grad_x"], both["grad_x"][n : n + 1])
        assert alone["at"].tolist() == both["at"][n : n + 1].tolist()


COLUMNS = {
    "box.x0": [1, 0, -0.5, 0],
    "box.y0": [0, 1, 0, -0.5],
    "box.x1": [1, 0, 0.5, 0],
    "box.y1": [0, 1, 0, 0.5],
    "box.width": [0, 0, 1, 0],
    "box.height": [0, 0, 0, 1],
    "box.cx": [1, 0, 0, 0],
    "box.cy": [0, 1, 0, 0],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_of_a_box(name: str) -> None:
    x, model = image(), detectors.yolov8()
    found = gradient(model, Target(name, at=0), "yolov8", x, position=POSITION)
    rows = found["out"][SAMPLES, :, POSITION[:, 0]]
    assert found["score"] == pytest.approx(rows[:, :4] @ np.array(COLUMNS[name]), rel=1e-6)
    cotangent = np.zeros(found["out"].shape)
    for n, at in zip(SAMPLES, POSITION[:, 0]):
        cotangent[n, :4, at] = COLUMNS[name]
    assert close(found["grad_x"], by_hand(model, x, out=cotangent))


def test_width_of_a_box_that_is_relative_to_a_cell() -> None:
    x, model = image(), detectors.yolox()
    found = gradient(model, Target("box.width", at=0), FAMILIES["yolox"].layout, x, position=POSITION)
    cotangent, at = np.zeros(found["out"].shape), POSITION[:, 0]
    cotangent[SAMPLES, at, 2] = np.exp(found["out"][SAMPLES, at, 2]) * detectors.grid()[1][at, 0]
    assert found["score"] == pytest.approx(cotangent[SAMPLES, at, 2], rel=1e-5)
    assert close(found["grad_x"], by_hand(model, x, out=cotangent))


@pytest.mark.parametrize("at", ["best", SOMEWHERE, "all"])
def test_a_number_is_of_the_detection_that_is_chosen(at: Any) -> None:
    x, box = image(), np.array([[2, 1, 9, 8], [6, 5, 15, 15]], np.float32)
    decoded = detectors.read_yolov8(everything(detectors.yolov8(), "yolov8", x))
    sure, widths = decoded.confidence.max(2), decoded.boxes[..., 2] - decoded.boxes[..., 0]
    found = gradient(
        detectors.yolov8(), Target("box.width", at=at), "yolov8", x, **({"box": box} if at is SOMEWHERE else {})
    )
    if at == "all":
        assert found["score"] == pytest.approx(widths.sum(1), rel=1e-5)
        return
    if at is SOMEWHERE:
        sure = np.stack([s * iou(b, one) for s, b, one in zip(sure, decoded.boxes, box)])
    assert found["at"].tolist() == sure.argmax(1)[:, None].tolist()
    assert found["score"] == pytest.approx(widths[SAMPLES, sure.argmax(1)], rel=1e-5)


def test_keypoints() -> None:
    x, model = image(), detectors.yolov8(points=2)
    layout = {"name": "yolov8", "keypoints": [2, 3], "keypoint_names": ["nose", "tail"]}
    assert everything(model, layout, x)["our scores"].shape == (2, CELLS, CLASSES)
    for index, name in enumerate(["nose.x", "nose.y", "nose.visible", "tail.x", "tail.y", "tail.visible"]):
        found = gradient(model, Target(name, at=0), layout, x, position=POSITION)
        row = 4 + CLASSES + index
        assert found["score"] == pytest.approx(found["out"][SAMPLES, row, POSITION[:, 0]])
        cotangent = one_hot(found["out"].shape, SAMPLES, row, POSITION[:, 0])
        assert close(found["grad_x"], by_hand(model, x, out=cotangent))


def test_numbers_with_a_predicted_class_and_a_region() -> None:
    read = read_model(detectors.yolov8())
    add_gradients(read, Request.of(Target("box.width"), layout="yolov8", predict=True))
    region = np.zeros((2, CELLS), np.float32)
    region[SAMPLES, POSITION[:, 0]] = 1
    found = run(write_model(read), x=image(), target=np.full(2, -1), region=region)
    assert found["score"] == pytest.approx(found["out"][SAMPLES, 2, POSITION[:, 0]])


def test_what_has_no_such_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"has no number 'nose.x' of a detection; it has box.x0, "):
        differentiate(detectors.yolov8(), Target("nose.x", at="best"), layout="yolov8")
    with pytest.raises(InputError, match=r"has no number 'box\.width' of a detection; a detector's has"):
        differentiate(detectors.yolov8(), Target("box.width", at=0), layout="sequence")
    for wrong in ({"versus": 1}, {"at": "own"}):
        with pytest.raises(TargetError, match="is a number of a detection and no class"):
            Target("box.width", **wrong)
    for versus in ("box.x0", Target("box.x0")):
        with pytest.raises(TargetError, match=r"versus='box\.x0' is a number of a detection"):
            Target("dog", versus=versus)
    assert Target("St. Bernard").column is None


def test_open_height_and_width() -> None:
    model = detectors.yolox(("N", 3, "H", "W"))
    x = image(2, 8, 24)
    layout = FAMILIES["yolox"].layout
    found = gradient(model, Target("box.cx", at="best"), layout, x)
    rows = found["out"].astype(np.float64)
    at = found["at"][:, 0]
    assert at.tolist() == (rows[..., 4:5] * rows[..., 5:]).max(2).argmax(1).tolist()
    places, steps = detectors.grid(8, 24)
    assert found["score"] == pytest.approx((rows[SAMPLES, at, 0] + places[at, 0]) * steps[at, 0], rel=1e-5)


@pytest.mark.parametrize("of", [0, "box.width"])
def test_half_precision(of: int | str) -> None:
    x, inputs = image(), {"target": CLASS} if of == 0 else {}
    model = detectors.yolox()
    made = differentiate(model, Target(of, at="best"), layout=FAMILIES["yolox"].layout, precision="float16")
    found = run(made, x=x, **inputs)
    exact = gradient(model, Target(of, at="best"), FAMILIES["yolox"].layout, x, **inputs)
    assert np.array_equal(found["at"], exact["at"])
    assert close(found["grad_x"], exact["grad_x"], 0.01)


def test_probability_keeps_the_final_softmax() -> None:
    layout = FAMILIES["ssd"].layout
    found = everything(detectors.ssd(), layout, image(), score="probability")
    assert close(found["our scores"], found["scores"])
    outputs = run(
        differentiate(detectors.ssd(), Target(1, at=0), layout=layout, score="probability"),
        x=image(),
        target=CLASS,
        position=POSITION,
    )
    assert outputs["score"] == pytest.approx(found["our scores"][SAMPLES, POSITION[:, 0], CLASS])


def test_background_is_never_predicted() -> None:
    read = read_model(detectors.ssd())
    add_gradients(read, Request.of(Target(at=0), layout=FAMILIES["ssd"].layout, predict=True))
    x = image(8)
    position = np.arange(8)[:, None]
    found = run(write_model(read), x=x, target=np.full(8, -1), position=position)
    scores = found["class_scores"]
    assert (scores.argmax(1) == 0).any()
    assert found["score"] == pytest.approx(scores[:, 1:].max(1))


def test_detections_of_a_model_that_chose_them_need_no_classes() -> None:
    x = image()
    found = everything(detectors.suppressed(), "yolov8_nms", x)
    assert found["our scores"].shape == (2, CELLS, 1)
    assert np.array_equal(found["our scores"][..., 0], found["out"][..., 4])


def test_rows_of_a_model_that_chose_its_detections_may_be_longer() -> None:
    """Ultralytics puts a mask or keypoints behind box, score and class; how many classes there are has to be stated."""
    found = everything(detectors.suppressed(more=32), {"name": "yolov8_nms", "classes": detectors.CLASSES}, image())
    sure, rows = found["our scores"], found["out"]
    assert sure.shape == (2, CELLS, detectors.CLASSES) and rows.shape == (2, CELLS, 38)
    assert np.array_equal(sure.max(2), rows[..., 4]) and np.array_equal(sure.argmax(2), rows[..., 5])


def test_logits_that_the_model_leaves_as_they_are() -> None:
    layout = {"name": "ssd", "outputs": ["pred_boxes", "logits"], "format": "cxcywh", "activation": "sigmoid"}
    found = everything(detectors.detr(), layout, image())
    assert np.array_equal(found["our scores"], found["logits"])
    assert close(found["our confidence"], detectors.sigmoid(found["logits"].astype(np.float64)))


@pytest.mark.parametrize("name", ["ssd", "detr", "yolox"])
@pytest.mark.parametrize("form", ["cpu", "cpu_shared", "cuda", "openvino"])
def test_forms_agree(name: str, form: str) -> None:
    x, family = image(), FAMILIES[name]
    target = Target(0, at=0)
    found = run(
        differentiate(family.build(), target, layout=family.layout, form=form), x=x, target=CLASS, position=POSITION
    )
    expected = gradient(family.build(), target, family.layout, x, target=CLASS, position=POSITION)
    assert close(found["grad_x"], expected["grad_x"])


@pytest.mark.parametrize("name", FAMILIES)
def test_probability_in_the_metadata(name: str) -> None:
    family = FAMILIES[name]
    made = differentiate(family.build(), Target(0, at="best"), layout=family.layout)
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    assert metadata.get("onnxplain.probability") == family.probability
    assert "onnxplain.class_axis" not in metadata


WRONG = [
    (detectors.yolov8, "yolov5", r"'out' \[N, 7, 20\] would be 7 detections of 20 numbers each"),
    (detectors.yolov5, "yolov8", r"'out' \[N, 20, 8\] would be 8 detections of 20 numbers each"),
    (detectors.ssd, "yolov5", "several could be float output of rank 3: 'scores', 'boxes'"),
    (detectors.yolov5, "fastestdet", "expects one output .* there is no float output of rank 4"),
    (detectors.yolov5, "ssd", r"there is no float output \[N,A,4\] of boxes"),
    (detectors.yolov5, "yolov8_nms", r"'out' \[N, 20, 8\] has no rows of 6 numbers"),
    (detectors.yolov5, "torchvision", "expects three outputs of one image"),
    (detectors.yolov5, "tensorflow", "there is no output 'detection_boxes'"),
    (detectors.yolov5, "nanodet", "of 3 strides there are 1 outputs of classes and 0"),
    (detectors.yolov5, "yunet", "there is no output 'cls_8'"),
    (detectors.yolox, "yolox", r"strides \[8, 16, 32\] make 2x2 \+ 1x1 \+ 1x1 = 6 cells of 16x16 pixels"),
    (detectors.yolov8, {"name": "yolov8", "classes": 9}, "leave no room for 9 classes behind the 4"),
    (detectors.yolov8, {"name": "yolov8", "outputs": "nothing"}, "the graph computes no tensor 'nothing'"),
    (detectors.yolov8, {"name": "yolov8", "box": [0, 1, 2]}, r"box is 4 different indices, .*; found \[0, 1, 2\]"),
    (detectors.yolov8, {"name": "yolov8", "format": "xywh"}, "format is one of 'cxcywh', .*; found 'xywh'"),
    (detectors.yolov8, {"name": "yolov8", "scale": 3}, "scale is one of 'pixels', 'normalised'; found 3"),
    (detectors.yolov8, {"name": "yolov8", "keypoints": 17}, r"keypoints is \[how many there are, .*; found 17"),
    (detectors.yolov8, {"name": "yolov8", "image": "y"}, "needs the image .* 'x' .*'image'"),
    (detectors.yolox, {"name": "yolox", "strides": "8"}, "strides is a list of whole numbers of pixels"),
    (detectors.yolox, {"name": "yolox", "decode": "yolov3", "strides": STRIDES}, "anchors is needed with decode"),
    (detectors.ssd, {"name": "ssd", "background": 7}, "background=7 is none of the 4 classes"),
    (detectors.detr, {"name": "detr", "activation": "relu"}, "activation is one of None, .*; found 'relu'"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "layout", "reason"), WRONG)
def test_what_does_not_fit_is_refused_by_name(build: Any, layout: Any, reason: str) -> None:
    if isinstance(layout, dict) and "image" in layout:
        layout = {**layout, "scale": "normalised"}
    with pytest.raises(InputError, match=reason):
        differentiate(build(), Target(0, at="best"), layout=layout)


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(
        InputError, match="layout 'yolov5' has no field 'stride'; it has class_axis, batch_axis, outputs"
    ):
        find_layout({"name": "yolov5", "stride": 8})
    with pytest.raises(InputError, match="'strides' belongs to a named layout; state its name, too"):
        find_layout({"strides": [8]})


def test_layout_of_ultralytics() -> None:
    wrote = {"author": "Ultralytics", "task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"}
    found = find_layout(None, wrote)
    assert (found.name, found.fields) == ("yolov8", {"classes": 1, "keypoints": [17, 3]})
    assert find_layout("yolov8", wrote).fields == found.fields
    assert find_layout({"name": "yolov8", "keypoints": None}, wrote).fields["keypoints"] is None
    assert find_layout("ssd", wrote).fields == {}
    assert find_layout(None, {**wrote, "task": "detect", "args": "{'nms': True}"}).name == "yolov8_nms"
    assert find_layout(None, {**wrote, "task": "obb"}).name is None
