"""Where the channels of images and videos are, whatever happens to them before the first convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, differentiate

from support import small_models as small
from support.graphs import run

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
KERNEL = np.random.default_rng(0).standard_normal((4, 3, 1, 1)).astype(np.float32)
NHWC = [0, 3, 1, 2]


def node(op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs, [output], **attributes)


def resize(last: bool, x: str = "x") -> list[onnx.NodeProto]:
    """``x`` with twice the height and width."""
    return [node("Resize", [x, "", "twice_last" if last else "twice_first"], "large", mode="nearest")]


def ending(source: str) -> list[onnx.NodeProto]:
    """A 1x1 convolution of a tensor with channels first, squared, averaged."""
    return [
        node("Conv", [source, "K"], "maps"),
        node("Mul", ["maps", "maps"], "squares"),
        node("ReduceMean", ["squares", "positions"], "logits", keepdims=0),
    ]


def image_model(nodes: list[onnx.NodeProto], shape: Sequence[int | str], dtype: int = FLOAT) -> onnx.ModelProto:
    constants = {
        "K": KERNEL,
        "positions": np.array([2, 3]),
        "twice_last": np.array([1, 2, 2, 1], np.float32),
        "twice_first": np.array([1, 1, 2, 2], np.float32),
        "scale": np.array(1 / 255, np.float32),
        "pads": np.array([0, 1, 1, 0, 0, 1, 1, 0]),
        "eight": np.array([8, 8]),
        "begin": np.array([1, 1]),
        "end": np.array([4, 4]),
        "spatial": np.array([1, 2]),
    }
    return small.build(nodes, [("x", dtype, shape)], [("logits", FLOAT, ["N", 4])], constants)


def turned(source: str) -> list[onnx.NodeProto]:
    return [node("Transpose", [source], "nchw", perm=NHWC), *ending("nchw")]


#: What is done to images with channels last before they are transposed for a convolution.
LAST: dict[str, list[onnx.NodeProto]] = {
    "resized": [*resize(True), *turned("large")],
    "scaled and resized": [node("Mul", ["x", "scale"], "scaled"), *resize(True, "scaled"), *turned("large")],
    "resized and scaled": [*resize(True), node("Mul", ["large", "scale"], "scaled"), *turned("scaled")],
    "resized by axes": [
        node("Resize", ["x", "", "", "eight"], "large", axes=[1, 2], mode="nearest"),
        *turned("large"),
    ],
    "padded": [node("Pad", ["x", "pads"], "padded"), *turned("padded")],
    "padded and resized": [node("Pad", ["x", "pads"], "padded"), *resize(True, "padded"), *turned("large")],
    "cropped": [node("Slice", ["x", "begin", "end", "spatial"], "part"), *turned("part")],
    "resized and cropped": [
        *resize(True),
        node("Slice", ["large", "begin", "end", "spatial"], "part"),
        *turned("part"),
    ],
}


@pytest.mark.parametrize("shape", [["N", 5, 6, 3], ["N", "H", "W", 3], ["N", 3, 6, 3]], ids=str)
@pytest.mark.parametrize("before", LAST)
def test_channels_last_images_that_are_resized_first(before: str, shape: list[int | str]) -> None:
    explainer = Explainer(image_model(LAST[before], shape))
    height, width = (extent if isinstance(extent, int) else 5 for extent in shape[1:3])
    x = np.random.default_rng(1).standard_normal((2, height, width, 3)).astype(np.float32)
    gradient, found = np.asarray(explainer.attribute(x, 1)), np.asarray(explainer.saliency(x, 1, normalize="none"))
    assert explainer.inputs[0].channel_axis == 3
    np.testing.assert_array_equal(found, np.abs(gradient).max(axis=3))


@pytest.mark.parametrize("shape", [["N", 3, 5, 6], ["N", "C", "H", "W"], ["N", 3, 5, 3]], ids=str)
def test_channels_first_images_that_are_resized_first(shape: list[int | str]) -> None:
    """What must stay."""
    explainer = Explainer(image_model([*resize(False), *ending("large")], shape))
    assert explainer.inputs[0].channel_axis == 1


def test_bytes_that_are_resized_before_they_are_transposed() -> None:
    nodes = [node("Cast", ["x"], "floats", to=FLOAT), *resize(True, "floats"), *turned("large")]
    explainer = Explainer(image_model(nodes, ["N", 5, 6, 3], UINT8))
    x = np.random.default_rng(2).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    assert explainer.inputs[0].channel_axis == 3
    assert np.asarray(explainer.saliency(x, 1)).shape == (2, 5, 6)


def test_a_photo_for_a_model_that_resizes_it() -> None:
    """The tensor that a photo becomes has the layout that the model takes: pixels in, one gradient per pixel."""
    explainer = Explainer(image_model(LAST["resized"], ["N", "H", "W", 3]), preprocessing="none")
    found = explainer.explain(small.picture(5, 6), 1)
    assert found.attribution.shape == (5, 6, 3) and found.saliency_input.shape == (5, 6)


def test_the_saliency_output_of_such_a_model() -> None:
    x = np.random.default_rng(3).standard_normal((2, 5, 6, 3)).astype(np.float32)
    model = differentiate(image_model(LAST["resized"], ["N", 5, 6, 3]), saliency=True)
    found = run(model, x=x, target=np.array([1, 2]))
    expected = np.abs(found["grad_x"]).max(axis=3)
    np.testing.assert_allclose(found["saliency_x"], expected / expected.max(axis=(1, 2), keepdims=True), rtol=1e-6)


# Videos.


def video(layout: str, frames: int | str, folded: bool) -> onnx.ModelProto:
    """x [N,T,3,H,W] ("TC"), [N,3,T,H,W] ("CT") or [N,T,H,W,3] ("last") -> a convolution per frame, squared, averaged.

    ``folded``: over images [N*T,3,H,W]; else a convolution over three axes.
    """
    shape: list[int | str] = {
        "TC": ["N", frames, 3, 5, 6],
        "CT": ["N", 3, frames, 5, 6],
        "last": ["N", frames, 5, 6, 3],
    }[layout]
    constants = {"K": KERNEL if folded else KERNEL[:, :, None], "axes": np.array([2, 3] if folded else [2, 3, 4])}
    nodes, source = [], "x"
    to_first = {"TC": [0, 2, 1, 3, 4], "last": [0, 4, 1, 2, 3]}
    to_frames = {"CT": [0, 2, 1, 3, 4], "last": [0, 1, 4, 2, 3]}
    moves = to_frames if folded else to_first
    if layout in moves:
        nodes.append(node("Transpose", ["x"], "turned", perm=moves[layout]))
        source = "turned"
    if folded:
        constants["fold"], constants["time"] = np.array([-1, 3, 5, 6]), np.array([1])
        constants["unfold"] = np.array([-1, frames if isinstance(frames, int) else 2, 4])
        nodes += [node("Reshape", [source, "fold"], "frames"), node("Conv", ["frames", "K"], "maps")]
    else:
        nodes.append(node("Conv", [source, "K"], "maps"))
    nodes += [node("Mul", ["maps", "maps"], "squares"), node("ReduceMean", ["squares", "axes"], "rows", keepdims=0)]
    if folded:
        nodes.append(node("Reshape", ["rows", "unfold"], "by_frame"))
        nodes.append(node("ReduceMean", ["by_frame", "time"], "logits", keepdims=0))
    else:
        nodes.append(node("Identity", ["rows"], "logits"))
    return small.build(nodes, [("x", FLOAT, shape)], [("logits", FLOAT, ["N", 4])], constants)


@pytest.mark.parametrize("frames", [2, 8, "T"])
@pytest.mark.parametrize(
    ("layout", "folded", "axis"),
    [("TC", True, 2), ("TC", False, 2), ("CT", True, 1), ("CT", False, 1), ("last", True, 4), ("last", False, 4)],
)
def test_the_channels_of_videos(layout: str, folded: bool, axis: int, frames: int | str) -> None:
    explainer = Explainer(video(layout, frames, folded))
    assert explainer.inputs[0].channel_axis == axis
    count = frames if isinstance(frames, int) else 2
    shape = {"TC": (3, count, 3, 5, 6), "CT": (3, 3, count, 5, 6), "last": (3, count, 5, 6, 3)}[layout]
    x = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    gradient, found = np.asarray(explainer.attribute(x, 1)), np.asarray(explainer.saliency(x, 1, normalize="none"))
    assert found.shape == (3, count, 5, 6)
    np.testing.assert_array_equal(found, np.abs(gradient).max(axis=axis))
