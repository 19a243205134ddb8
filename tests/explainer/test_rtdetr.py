"""An RT-DETR that Ultralytics exported has the task of a YOLO, but other rows, and its photos are stretched."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxplain import Explainer, InputError
from onnxplain.layout import find_layout
from onnxplain.photos import Preprocessing

from support import detectors
from support.detectors import CELLS, CLASSES, SIDE, Array
from support.graphs import run

#: What version 8.4.190 writes of an RT-DETR, as far as it matters; older files have no ``head``.
NEW = {
    "description": "Ultralytics rtdetr-l model ",
    "author": "Ultralytics",
    "version": "8.4.190",
    "stride": "32",
    "task": "detect",
    "head": "RTDETRDecoder",
    "imgsz": f"[{SIDE}, {SIDE}]",
    "names": "{0: 'a', 1: 'b', 2: 'c'}",
    "args": "{'batch': 1, 'nms': None, 'dynamic': True}",
    "end2end": "False",
}
BARE = {key: value for key, value in NEW.items() if key != "head"}
OLD = {**BARE, "version": "8.4.46"}
CHOSEN = {"format": "cxcywh", "scale": "normalised", "classes": CLASSES}


def exported(model: onnx.ModelProto, metadata: Mapping[str, str], extents: str = "") -> onnx.ModelProto:
    """``model`` as Ultralytics leaves it; ``extents`` names those of the output after the first, if they are open."""
    onnx.helper.set_model_props(model, dict(metadata))
    for index, name in enumerate(extents, 1):
        model.graph.output[0].type.tensor_type.shape.dim[index].dim_param = name
    return model


def chosen() -> onnx.ModelProto:
    return detectors.suppressed(scales=(1, 1, 0.5, 0.5))


def scores_of_all(rows: Array) -> tuple[Array, Array]:
    return rows[:, 4:].argmax(1), rows[:, 4:].max(1)


def score_of_one(rows: Array) -> tuple[Array, Array]:
    return rows[:, 5], rows[:, 4]


@pytest.mark.parametrize("extents", ["", "qr"])
@pytest.mark.parametrize(
    ("build", "metadata", "read"),
    [
        (chosen, NEW, score_of_one),
        (chosen, {**BARE, "version": "8.4.47"}, score_of_one),
        (detectors.rtdetr, OLD, scores_of_all),
    ],
)
def test_boxes_are_shares_of_a_stretched_photo(
    build: Callable[[], onnx.ModelProto],
    metadata: Mapping[str, str],
    read: Callable[[Array], tuple[Array, Array]],
    extents: str,
) -> None:
    """All rows are found: nothing is suppressed."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    photo, recipe = Image.fromarray(pixels), Preprocessing("exact", SIDE)
    explainer = Explainer(exported(build(), metadata, extents), cache=False)
    assert explainer.preprocessing.preprocessing == recipe
    x = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32).transpose(2, 0, 1)[None] / 255
    rows = run(build(), x=x)["out"][0].astype(np.float64)
    classes, scores = read(rows)
    found = explainer.detect(photo, threshold=0.0, overlap=0.0)
    assert sorted(one.index for one in found) == list(range(CELLS))
    for one in found:
        cx, cy, width, height = rows[one.index, :4]
        box = np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]).clip(0, 1) * [50, 30, 50, 30]
        np.testing.assert_allclose([one.box.x0, one.box.y0, one.box.x1, one.box.y1], box, atol=1e-3)
        assert one.target == classes[one.index] and one.score == pytest.approx(scores[one.index], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "name", "fields"),
    [
        ({"description": "Ultralytics RT-DETR-X model trained on coco.yaml", "version": "8.0.150"}, "rtdetr", None),
        ({"description": "Ultralytics YOLOv8-rtdetr model "}, "yolov8_nms", CHOSEN),
        ({"description": "Ultralytics YOLO11n model trained on rtdetr.yaml"}, "yolov8", None),
        ({"head": "Detect"}, "yolov8", None),
        ({"head": "RTDETRDecoder", "description": "Ultralytics mine model "}, "yolov8_nms", CHOSEN),
        ({"version": "unknown"}, None, {}),
    ],
)
def test_what_tells_it_from_a_yolo(changes: Mapping[str, str], name: str | None, fields: object) -> None:
    found = find_layout(None, {**BARE, **changes})
    assert found.name == name
    assert found.fields == ({"classes": CLASSES} if fields is None else fields)


def test_rows_of_open_width_are_no_yolo() -> None:
    """Of an RT-DETR under another name, exported with open extents, the rows were read across, as seven detections."""
    model = exported(detectors.rtdetr((1, 3, "h", "w")), {**BARE, "description": "Ultralytics mine model "})
    with pytest.raises(InputError, match=r"7 detections of an open number .* if the model is an RT-DETR, state"):
        Explainer(model, cache=False)
