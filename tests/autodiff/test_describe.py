"""What a file says of its own inputs and outputs."""

from __future__ import annotations

import json
from typing import Any

import onnx
import onnx_ir as ir
import pytest

from onnxplain import Box, Target, differentiate, find_preprocessing

from support import small_models as small
from support.graphs import classifier, names


def metadata(model: onnx.ModelProto, key: str) -> dict[str, Any]:
    (found,) = (p.value for p in model.metadata_props if p.key == f"onnxplain.{key}")
    read: dict[str, Any] = json.loads(found)
    return read


def test_every_added_input_and_output_is_described() -> None:
    model = differentiate(small.quadratic(), saliency=True)
    outputs = metadata(model, "outputs")
    assert list(outputs) == names(model.graph.output)[1:] == ["score", "saliency_x", "grad_x"]
    question = {"of": "logits", "target": {"form": "class"}, "score": "logit"}
    assert outputs["score"] == {"what": "score", "axes": ["N"], "range": [None, None], **question}
    assert outputs["grad_x"] == {
        "what": "gradient", "axes": ["N", "C", "H", "W"], "range": [None, None], "method": "gradient", "wrt": "x",
        **question,
    }  # fmt: skip
    assert outputs["saliency_x"] == {
        "what": "saliency map", "axes": ["N", "H", "W"], "range": [0, 1], "method": "saliency", "wrt": "x", **question,
    }  # fmt: skip
    assert metadata(model, "inputs") == {"target": {"what": "class index", "axes": ["N"], "range": [0, None]}}


@pytest.mark.parametrize("form", ["portable", "cpu"])
def test_each_output_has_its_own_description(form: str) -> None:
    model = differentiate(small.quadratic_nhwc(), saliency=True, form=form)
    for value in model.graph.output:
        stated = {p.key: json.loads(p.value) for p in value.metadata_props}
        assert stated.get("onnxplain") == metadata(model, "outputs").get(value.name), value.name
    assert metadata(model, "outputs")["grad_x"]["axes"] == ["N", "H", "W", "C"]
    again = ir.serde.deserialize_model(model).graph.outputs[-1]
    assert json.loads(again.metadata_props["onnxplain"])["wrt"] == "x"


def test_the_target_is_that_of_the_file() -> None:
    model = differentiate(classifier(), Target(0, versus=1), score="probability")
    assert metadata(model, "outputs")["score"]["target"] == {"form": "class", "versus": "class"}
    assert metadata(model, "outputs")["score"]["score"] == "probability"
    assert list(metadata(model, "inputs")) == ["target", "contrast"]
    cotangent = differentiate(classifier(), target="cotangent")
    assert metadata(cotangent, "outputs")["grad_x"]["target"] == "cotangent"
    assert metadata(cotangent, "outputs")["grad_x"]["axes"] == ["N", "F"]
    assert list(metadata(cotangent, "inputs")) == ["cotangent"]


def test_photos_and_boxes() -> None:
    recipe = find_preprocessing(small.quadratic(), "imagenet")
    model = differentiate(small.quadratic(), with_preprocessing=recipe)
    assert metadata(model, "outputs")["saliency_photo"]["wrt"] == "photo"
    assert metadata(model, "inputs")["photo"] == {"what": "photo, RGB", "axes": ["N", "H", "W", "C"], "range": [0, 255]}
    boxes = small.build(
        [onnx.helper.make_node("Mul", ["x", "x"], ["y"])],
        [("x", small.FLOAT, ["N", 6, 20])],
        [("y", small.FLOAT, ["N", 6, 20])],
    )
    asked = differentiate(boxes, Target(at=Box(0, 0, 1, 1)), layout="yolov8")
    assert metadata(asked, "inputs")["box"]["what"] == "box (x0, y0, x1, y1) in pixels of the model's input"
    assert metadata(asked, "outputs")["at"]["what"] == "place that was chosen"
    assert metadata(asked, "outputs")["at"]["target"] == {"form": "class", "place": "box"}


def test_names_are_those_that_the_file_got() -> None:
    twice = differentiate(differentiate(classifier()), tensor="logits")
    assert {"score_2", "grad_x_2"} <= set(metadata(twice, "outputs"))
