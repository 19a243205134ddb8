"""Real pretrained models: their gradients against finite differences of their own scores.

``ONNXPLAIN_ZOO`` names a folder with ``models/`` and ``photos/``; without it these tests are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from PIL import Image, ImageDraw

import onnxplain

ZOO = Path(os.environ.get("ONNXPLAIN_ZOO", ""))
pytestmark = pytest.mark.skipif(
    "ONNXPLAIN_ZOO" not in os.environ, reason="ONNXPLAIN_ZOO is not set to a folder of models and photos"
)


def photo(name: str, size: int) -> np.ndarray:
    """The central square of a photo, RGB [size, size, 3] in 0..255."""
    with Image.open(ZOO / "photos" / name) as image:
        image = image.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square, dtype=np.float32)


def first(image: np.ndarray) -> np.ndarray:
    """[H,W,C] to [C,H,W]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def grain(image: np.ndarray) -> np.ndarray:
    """Noise as of a scanner. Over a perfectly even background every max pool is tied, and there the
    score has no derivative to compare with: it falls in one direction at another rate than it rises in
    the opposite one."""
    return image + np.random.default_rng(0).uniform(0, 4, image.shape).astype(np.float32)


def digit(size: int, low: int = 0) -> np.ndarray:
    """A hand-drawn seven, white on black, [1, size, size] in 0..255; drawn at ``low`` pixels and enlarged."""
    scale = (low or size) * 8
    canvas = Image.new("L", (scale, scale))
    points = [(0.28, 0.22), (0.72, 0.24), (0.45, 0.8)]
    ImageDraw.Draw(canvas).line([(x * scale, y * scale) for x, y in points], fill=255, width=scale // 9, joint="curve")
    if low:
        canvas = canvas.resize((low, low), Image.Resampling.BOX)
    resample = Image.Resampling.BILINEAR if low else Image.Resampling.BOX
    return grain(np.asarray(canvas.resize((size, size), resample), dtype=np.float32)[None])


def text_line() -> np.ndarray:
    """Words in black on white, [3, 48, 192] in -1..1."""
    canvas = Image.new("RGB", (96, 24), "white")
    ImageDraw.Draw(canvas).text((8, 6), "Hello, world", fill="black")
    return grain(first(np.asarray(canvas.resize((192, 48), Image.Resampling.BILINEAR), dtype=np.float32))) / 127.5 - 1


def summer() -> np.ndarray:
    """Daily maximum temperatures of four weeks, [28, 1] in degrees Celsius."""
    days = np.arange(28)
    return (22 + 3 * np.sin(days / 3) + np.cos(1.7 * days)).astype(np.float32)[:, None]


_CAFFE_MEAN = np.array([104, 117, 123], dtype=np.float32)

#: Every float32 neural network: one input sample, preprocessed as the model wants it.
MODELS: dict[str, Callable[[], np.ndarray]] = {
    "cifar10_resnet8_keras_nhwc": lambda: photo("oxpet_Egyptian_Mau_160.jpg", 32),
    "dianna_mnist_binary_pytorch": lambda: digit(28) / 255,
    "dianna_season_timeseries_keras": summer,
    "digits_lstm": lambda: digit(8)[0] / 255,
    "digits_vit_tiny": lambda: digit(32, low=8) / 255,
    "fastestdet_coco": lambda: first(photo("winml_dog.jpg", 352)[:, :, ::-1] / 255),
    "mnist_cntk": lambda: digit(28),
    "mobilenetv1_050_160_tf_nhwc_float": lambda: photo("oxpet_beagle_111.jpg", 160) / 127.5 - 1,
    "ppocr_textangle_cls_paddle": text_line,
    "squeezenet10_caffe_deepcompression": lambda: first(photo("skimage_chelsea.jpg", 227)[:, :, ::-1] - _CAFFE_MEAN),
    "vww96_mobilenetv1_025_keras_nhwc": lambda: photo("skimage_astronaut.jpg", 96) / 255,
}

#: What these tests leave out, and why.
OTHERS = {
    "breast_cancer_logreg_zipmap_sklearn": "linear classifier of ai.onnx.ml behind a ZipMap: test_machine_learning.py",
    "digits_mlp_sklearn": "scikit-learn pipeline: test_machine_learning.py",
    "digits_rf_sklearn": "trees: no gradient, must be refused",
    "mobilenetv1_025_128_tflite_qdq_nhwc_uint8": "quantised: test_quantized_models.py",
    "squeezenet10_winml_fp16": "float16: a test of its own below",
}


@dataclass(frozen=True)
class Differentiated:
    """A model of the zoo before and after differentiation, and a batch of one sample for it."""

    plain: onnx.ModelProto
    model: onnx.ModelProto
    x: np.ndarray

    @property
    def input_name(self) -> str:
        return str(self.model.graph.input[0].name)


@pytest.fixture(scope="module", params=MODELS)
def differentiated(request: pytest.FixtureRequest) -> Differentiated:
    path = ZOO / "models" / f"{request.param}.onnx"
    plain = onnx.load(path)
    if not plain.graph.name:
        plain.graph.name = request.param
    return Differentiated(
        plain, onnxplain.differentiate(path, onnxplain.Target(at="all")), MODELS[request.param]()[None]
    )


def test_every_model_of_the_zoo_is_listed() -> None:
    assert {path.stem for path in (ZOO / "models").glob("*.onnx")} == {*MODELS, *OTHERS}


def test_outputs_are_unchanged(differentiated: Differentiated) -> None:
    name = differentiated.input_name
    for level, tolerance in ((_LEVELS.ORT_DISABLE_ALL, 0.0), (_LEVELS.ORT_ENABLE_ALL, 1e-5)):
        expected = session(differentiated.plain, level).run(None, {name: differentiated.x})
        names = [v.name for v in differentiated.plain.graph.output]
        target = np.zeros(1, dtype=np.int64)
        found = session(differentiated.model, level).run(names, {name: differentiated.x, "target": target})
        for y, e in zip(found, expected):
            np.testing.assert_allclose(y, e, rtol=0, atol=tolerance * np.abs(e).max())


@pytest.mark.parametrize("rank", [0, 1], ids=["predicted", "runner-up"])
def test_gradient_agrees_with_finite_differences(differentiated: Differentiated, rank: int) -> None:
    """Along the gradient, and along each half of it (a random choice of elements): to 1 %."""
    runner = session(differentiated.model, _LEVELS.ORT_ENABLE_ALL)
    name = differentiated.input_name
    y = np.asarray(runner.run(None, {name: differentiated.x, "target": np.zeros(1, dtype=np.int64)})[0])
    if y.ndim == 4:  # the detector's channels: an objectness, four of the box, then the classes
        y = y[:, 5:].sum(axis=(2, 3))
    first_class = 5 if differentiated.x.shape[2:] == (352, 352) else 0
    target = np.argsort(-y[0])[rank : rank + 1].astype(np.int64) + first_class

    def score(x: np.ndarray) -> float:
        return float(runner.run(["score"], {name: x.astype(np.float32), "target": target})[0][0])

    gradient = runner.run([f"grad_{name}"], {name: differentiated.x, "target": target})[0].astype(np.float64)
    assert gradient.shape == differentiated.x.shape
    half = np.random.default_rng(rank).random(gradient.shape) < 0.5
    for direction in (gradient, gradient * half, gradient * ~half):
        length = float(np.linalg.norm(direction))
        assert length > 0
        slope = directional_derivative(score, differentiated.x.astype(np.float64), direction / length)
        assert float(np.sum(gradient * direction)) / length == pytest.approx(slope, rel=0.01)


def directional_derivative(score: Callable[[np.ndarray], float], x: np.ndarray, direction: np.ndarray) -> float:
    """A central difference with the smallest step that float32 allows.

    Large steps cross kinks of ReLU and max pooling, small ones drown in the rounding of a float32
    network. How large that is, is measured: the standard deviation of the score over sixteen inputs that
    differ in the last place, and half a unit in the score's last place at least. Of the steps from 1e-7
    to 1e-2 of the length of ``x``, in half decades, the first one is taken at which the score changes by
    a thousand times as much. The gradient under test has no part in the choice.
    """
    rng = np.random.default_rng(0)
    neighbours = [x * (1 + rng.uniform(-1, 1, x.shape) * np.finfo(np.float32).eps) for _ in range(16)]
    scores = [score(neighbour) for neighbour in neighbours]
    rounding = max(float(np.std(scores)), float(np.spacing(np.float32(abs(scores[0])))) / 2)
    for step in np.linalg.norm(x) * 10.0 ** np.arange(-7, -1.9, 0.5):
        change = score(x + step * direction) - score(x - step * direction)
        if abs(change) >= 1000 * rounding:
            return float(change / (2 * step))
    raise AssertionError("the score does not change enough to be differentiated in float32")


def test_the_float16_gradient_agrees_with_finite_differences_in_float32() -> None:
    """A score in float16 is too coarse for differences: they are taken of the same network in float32."""
    half = onnx.load(ZOO / "models" / "squeezenet10_winml_fp16.onnx")
    wide = onnx.ModelProto()
    wide.CopyFrom(half)
    for tensor in wide.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in [*wide.graph.input, *wide.graph.output, *wide.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    x = first(photo("winml_dog.jpg", 224)[:, :, ::-1] - _CAFFE_MEAN)[None].astype(np.float16)
    target = np.array([207])  # golden retriever
    narrow = session(onnxplain.differentiate(half), _LEVELS.ORT_ENABLE_ALL)
    gradient = narrow.run(["grad_data_0"], {"data_0": x, "target": target})[0]
    assert gradient.dtype == np.float16
    runner = session(onnxplain.differentiate(wide), _LEVELS.ORT_ENABLE_ALL)

    def score(x: np.ndarray) -> float:
        return float(runner.run(["score"], {"data_0": x.astype(np.float32), "target": target})[0][0])

    length = float(np.linalg.norm(gradient.astype(np.float64)))
    slope = directional_derivative(score, x.astype(np.float64), gradient.astype(np.float64) / length)
    assert length == pytest.approx(slope, rel=0.01)


def test_trees_are_refused_by_name() -> None:
    with pytest.raises(onnxplain.ModelError, match="TreeEnsembleClassifier"):
        onnxplain.differentiate(ZOO / "models" / "digits_rf_sklearn.onnx")


_LEVELS = onnxruntime.GraphOptimizationLevel


def session(model: onnx.ModelProto, level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
