"""Detections in the photo's pixels, why they were made, and vectors for similarity."""

from __future__ import annotations

import json
import os
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnxplain import Explainer, Explanation, InputError, Preprocessing, PreprocessingError, TargetError
from onnxplain.results.detection import Detection
from onnxplain.target import Box, Target

from support import colour_detectors as colours
from support import small_models as small
from support.coco import COCO
from support.detectors import CELLS, CLASSES, FAMILIES, SIDE
from support.graphs import FLOAT, build, run

YOLOS = ("yolov5", "yolov8")


def share(explanation: Explanation, box: Box) -> float:
    """How much of the map lies in a box."""
    x0, y0, x1, y1 = (round(value) for value in (box.x0, box.y0, box.x1, box.y1))
    return float(explanation.saliency[y0:y1, x0:x1].sum() / explanation.saliency.sum())


@pytest.fixture(scope="module", params=YOLOS)
def yolo(request: pytest.FixtureRequest) -> Explainer:
    return Explainer(colours.yolo(request.param), layout=request.param, cache=False)


def test_objects_are_found_and_explained(yolo: Explainer) -> None:
    """The photo is letterboxed. Energy of saliency in the boxes, measured: 0.98 for both, of both models."""
    photo = colours.photo()
    found = yolo.detect(photo, threshold=0.75)
    assert sorted(str(one.label) for one in found) == ["blue", "red"]
    for one in found:
        assert one.box.iou(Box(*(colours.RED if one.label == "red" else colours.BLUE))) >= 0.8
        assert colours.LABELS[one.target] == one.label and 0.75 <= one.score <= 1
        why = yolo.explain(photo, one)
        assert why.box == one.box and why.target == one.target and why.label == one.label
        assert why.probability is None or why.probability == pytest.approx(one.score, abs=1e-4)
        assert share(why, one.box) >= 0.95
        again = yolo.explain(photo, Target(one.label, at=one.box))
        np.testing.assert_array_equal(again.saliency, why.saliency)


def test_the_surest_comes_first_and_is_what_is_explained(yolo: Explainer) -> None:
    photo = colours.photo()
    found = yolo.detect(photo)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    why = yolo.explain(photo)
    assert (why.target, why.box) == (found[0].target, found[0].box)
    assert why.title.startswith(f"{found[0].label} (")
    red = yolo.explain(photo, "red")
    assert red.box == next(one.box for one in found if one.label == "red")


def test_suppression_and_its_limits(yolo: Explainer) -> None:
    photo = colours.photo()
    everything = yolo.detect(photo, threshold=0.0, overlap=1.0, limit=1000)  # but those in the padding
    assert len(everything) == len({one.index for one in everything}) == 14 * 16 + 8 * 8
    assert len(yolo.detect(photo, threshold=0.0)) < 100 < len(everything)
    assert yolo.detect(photo, limit=1) == yolo.detect(photo)[:1]
    assert yolo.detect(photo, threshold=1.0) == []


def test_a_photo_of_any_kind_and_size(yolo: Explainer, tmp_path: Path) -> None:
    large = colours.photo().repeat(2, axis=0).repeat(2, axis=1)
    best, twice = yolo.detect(colours.photo())[0], yolo.detect(large / 255)[0]
    sides = [[b.x0, b.y0, b.x1, b.y1] for b in (best.box, twice.box)]
    np.testing.assert_allclose(sides[1], 2 * np.array(sides[0]), rtol=1e-6)


def test_several_detections_and_several_photos_have_boxes_of_their_own(yolo: Explainer) -> None:
    photo, mirrored = colours.photo(), np.ascontiguousarray(colours.photo()[:, ::-1])
    found = yolo.detect(photo, threshold=0.75)
    whys = yolo.explain(photo, list[Target](found))
    assert [(why.label, why.box) for why in whys] == [(one.label, one.box) for one in found]
    both = yolo.explain([photo, mirrored], "red")
    assert [one.box for one in both] == [
        next(one.box for one in yolo.detect(image) if one.label == "red") for image in (photo, mirrored)
    ]


def test_pictures_show_the_box_and_facts_have_it(yolo: Explainer, tmp_path: Path) -> None:
    why = yolo.explain(colours.photo(), "red")
    assert why.box is not None
    row, column = round((why.box.y0 + why.box.y1) / 2), round(why.box.x0)
    for kind in ("overlay", "heatmap", "contour"):
        assert (why.picture(kind)[row, column] == 255).all()
        assert (why.picture(kind)[row, column - 1] == 0).all()
    assert why.picture("panel").shape[1] > 3 * why.image.shape[1]
    assert why.save(tmp_path / "a.json") and json.loads((tmp_path / "a.json").read_text())["box"]["x0"] == why.box.x0
    why.save(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), why.saliency)


def test_a_detection_is_frozen_equal_and_readable() -> None:
    one, same, other = (Detection.made(Box(1, 2, 3, 4), 5, "dog", score, 7) for score in (0.75, 0.75, 0.7))
    assert one == same != other
    assert repr(one) == "<Detection of dog 75.0% at (1, 2, 3, 4), row 7>"
    assert (one.target, one.index, one.name, one.kind) == (5, 7, "dog", Target(5, at=7).kind)
    assert Detection.made(Box(1, 2, 3, 4), 5, None, 0.75, 7).title == "class 5 75.0%"
    boxed = {"x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0}
    assert one.to_dict() == {"label": "dog", "target": 5, "score": 0.75, "box": boxed, "index": 7}
    with pytest.raises(AttributeError):
        one.score = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_detectors_for_a_tensor(name: str) -> None:
    """Boxes are in pixels of the model's input. What the model suppressed itself is not suppressed again."""
    family = FAMILIES[name]
    model = family.build()
    explainer = Explainer(model, layout=family.layout, labels=["a", "b", "c", "d"][: family_classes(name)], cache=False)
    x = np.random.default_rng(3).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    expected = family.read({k: v.astype(np.float64) for k, v in run(model, x=x).items()})
    sure, boxes = expected.confidence[0], expected.boxes[0]
    found = explainer.detect(x, threshold=0.0, overlap=0.0, limit=2 * CELLS)
    assert found
    for one in found:
        assert one.target == sure[one.index].argmax() and one.label == "abcd"[one.target]
        assert one.score == pytest.approx(sure[one.index].max(), abs=1e-5)
        np.testing.assert_allclose([one.box.x0, one.box.y0, one.box.x1, one.box.y1], boxes[one.index], atol=1e-4)
    positive = int((boxes[:, 2:] > boxes[:, :2]).all(axis=1).sum())
    if name in ("yolov8_nms", "torchvision", "tensorflow", "detr", "rtdetr"):
        assert len(found) == positive
    else:
        pairs = [(a, b) for a, b in combinations(found, 2) if a.target == b.target]
        assert len(found) < positive and max((a.box.iou(b.box) for a, b in pairs), default=0) == 0


def family_classes(name: str) -> int:
    return CLASSES + (name == "ssd")


def test_what_cannot_be_detected_is_refused() -> None:
    classifier = Explainer(small.quadratic(metadata=small.image_metadata()), cache=False)
    for photo in (small.picture(), small.inputs(1)):
        with pytest.raises(InputError, match=r"nothing says .* holds detections.*layout=, one of yolov5, yolov8"):
            classifier.detect(photo)
    yolo = Explainer(colours.yolo("yolov8"), layout="yolov8", cache=False)
    x = np.zeros((2, 3, 128, 128), np.float32)
    with pytest.raises(InputError, match="there are 2 samples"):
        yolo.detect(x)
    with pytest.raises(InputError, match="several photos"):
        yolo.detect([colours.photo()] * 2)  # type: ignore[arg-type]
    options: dict[str, Any]
    for options, message in (
        ({"threshold": 1.5}, r"threshold is 1\.5"),
        ({"overlap": -0.5}, r"overlap is -0\.5"),
        ({"limit": 0}, "limit is 0"),
    ):
        with pytest.raises(InputError, match=message):
            yolo.detect(x[:1], **options)
    family = FAMILIES["yolov8"]
    with pytest.raises(PreprocessingError):
        Explainer(family.build(), layout=family.layout, cache=False).detect(colours.photo())
    with pytest.raises(InputError, match="4 labels, but the model has 3 classes"):
        Explainer(family.build(), layout=family.layout, labels=list("abcd"), cache=False)


def mapped(classes: int, preprocessing: Preprocessing | None = None) -> Explainer:
    """A segmentation [N,K,4,6] of x [N,3,8,12]: mean colours, or the first of them alone."""
    nodes = [helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2])]
    nodes.append(helper.make_node("Slice", ["pooled", "zero", "count", "one"], ["out"]))
    constants = {"zero": np.array([0]), "count": np.array([classes]), "one": np.array([1])}
    model = build(nodes, [("x", FLOAT, ["N", 3, 8, 12])], [("out", FLOAT, ["N", classes, 4, 6])], constants)
    preprocessing = preprocessing or Preprocessing(resize="exact", size=(8, 12))
    return Explainer(model, layout="segmentation", preprocessing=preprocessing, cache=False)


def test_the_region_of_a_segmentation_is_outlined() -> None:
    photo = np.zeros((80, 120, 3), np.uint8)
    photo[:, :60, 0], photo[:, 60:, 1] = 255, 255
    why = mapped(3).explain(photo, 0)
    assert why.region is not None and why.box is None and why.region.shape == (80, 120)
    assert (why.region[:, :40] == 1).all() and (why.region[:, 80:] == 0).all()
    assert (why.picture("heatmap")[40, 58:62].min(axis=1) > 150).any()
    mask = np.zeros((80, 120), bool)
    mask[20:60, 40:80] = True
    masked = mapped(3).explain(photo, Target(0, at=mask))
    assert masked.region is not None and masked.region[40, 60] > 0.5 and masked.region[5, 5] == 0
    assert mapped(3).explain(photo, Target(0, at="all")).region is None


def test_a_point_is_one_of_the_photo_that_the_model_sees() -> None:
    """The crop keeps rows 6..13 and columns 9..20."""
    explainer = mapped(3, Preprocessing(crop=(8, 12)))
    photo = np.full((20, 30, 3), 128, np.uint8)
    for y, x in ((6, 9), (13, 20), (-7, -10)):
        found = np.argwhere(explainer.explain(photo, Target(0, at=(y, x))).saliency)
        assert (np.abs(found - (y % 20, x % 30)) <= 1).all(), found
    for y, x in ((10, 8), (5, 12), (10, 21), (14, 12), (-1, -1)):
        with pytest.raises(TargetError, match=r"at=.* is not in rows 6 to 13 and columns 9 to 20, which the model"):
            explainer.explain(photo, Target(0, at=(y, x)))
    for y, x in ((20, 3), (3, 30), (-21, 3), (3, -31)):
        with pytest.raises(TargetError, match="is out of range: the photo has 20 rows and 30 columns"):
            explainer.explain(photo, Target(0, at=(y, x)))


def test_an_embedding_is_the_output_as_similarities_see_it() -> None:
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()), cache=False)
    x = small.inputs(3)
    vectors = explainer.embed(x)
    np.testing.assert_allclose(vectors, small.quadratic_scores(x), rtol=1e-5)
    assert explainer.embed(x[:1]).shape == (5,) and vectors.shape == (3, 5)
    photos = [small.picture(seed=seed) for seed in (0, 1)]
    one = explainer.embed(photos[0])
    np.testing.assert_allclose(explainer.embed(photos), np.stack([one, explainer.embed(photos[1])]), rtol=1e-5)
    alike = explainer.explain(photos[1], Target(like=one))
    both = explainer.embed(photos)
    assert alike.score == pytest.approx(both[0] @ both[1] / np.prod(np.linalg.norm(both, axis=1)), rel=1e-5)
    np.testing.assert_allclose(explainer.attribute(x[:1], Target(like=vectors[0])), 0, atol=1e-6)


def test_only_vectors_are_embeddings() -> None:
    with pytest.raises(InputError, match=r"'out' has scores at several places and is no vector"):
        mapped(3).embed(np.zeros((1, 3, 8, 12), np.float32))


ZOO = os.environ.get("ONNXPLAIN_ZOO")
zoo = pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")
#: Of a model its layout, preprocessing and labels; a photo, and by eye what is in it, in pixels of the photo.
_NANODET = {"scale": 1, "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395)}
DOG, FACE = Box(60, 40, 214, 293), Box(110, 40, 172, 118)
REAL: dict[str, tuple[str, str, dict[str, Any], list[str], str, Box]] = {
    "nanodet": ("tasks/nanodet_m.onnx", "nanodet", {"size": 416, **_NANODET}, COCO, "winml_dog.jpg", DOG),
    "fastestdet": ("models/fastestdet_coco.onnx", "fastestdet", {"size": 352}, COCO, "winml_dog.jpg", DOG),
    "yunet": ("tasks/yunet_2026may.onnx", "yunet", {"size": 320, "scale": 1}, ["face"], "skimage_astronaut.jpg", FACE),
}


@zoo
@pytest.mark.parametrize("name", REAL)
def test_real_detectors_find_the_object_and_look_at_it(name: str) -> None:
    """At least half of the map's energy lies in the box that was written down by eye.

    Measured, as a share: saliency, smoothgrad (10 samples), layer_cam, hires_cam, grad_cam.
    nanodet_m 0.82, 0.83, 0.83, 0.83, 0.13; fastestdet 0.65, 0.74, 1.00, 1.00, 0.45; yunet 0.43, 0.47, 0.69, 0.70, 0.13.
    Position by position (LayerCAM, HiResCAM) serves best; the layer that they find precedes all scales.
    """
    assert ZOO is not None
    file, layout, fields, labels, photo, by_eye = REAL[name]
    preprocessing = Preprocessing(resize="exact", channels="BGR", **fields)
    explainer = Explainer(Path(ZOO) / file, layout=layout, preprocessing=preprocessing, labels=labels, cache=False)
    best = explainer.detect(Path(ZOO) / "photos" / photo)[0]
    assert best.label == ("face" if name == "yunet" else "dog") and best.score > 0.7
    assert best.box.iou(by_eye) >= 0.75
    why = explainer.explain(Path(ZOO) / "photos" / photo, best, method="layer_cam")
    assert why.box == best.box and why.title.startswith(f"{best.label} (")
    assert share(why, by_eye) >= 0.6
    if name != "yunet":
        assert share(explainer.explain(Path(ZOO) / "photos" / photo), by_eye) >= 0.6
    with pytest.raises(InputError, match=f"3 labels, but the model has {len(labels)} class"):
        Explainer(Path(ZOO) / file, layout=layout, labels=["a", "b", "c"], cache=False)
    with pytest.raises(TargetError, match="no class is called 'unicorn'"):
        explainer.explain(Path(ZOO) / "photos" / photo, "unicorn")
