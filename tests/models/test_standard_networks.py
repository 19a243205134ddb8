"""The networks that the ONNX package carries for testing runtimes: exports of Caffe2 at opset 9, which torch never saw.

Their graphs are those of Inception v1 and v2, ShuffleNet and SqueezeNet, among others; their weights are constants of
one number, which random ones replace here. What the gradient should be is said by torch, which runs the graph node by
node in float64 (``onnx_in_torch.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from onnxplain.autodiff import differentiate

from support.gradient_passes import run
from support.onnx_in_torch import scores

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
#: AlexNet, DenseNet-121 and ResNet-50 pass too, but take long, and have nothing that is not here or in
#: ``test_architectures.py``; VGG-19 and ZFNet are not run, with half a gigabyte of weights.
NAMES = ["inception_v1", "inception_v2", "shufflenet", "squeezenet"]

#: Of millions of activations some are within rounding of a kink, where float32 may take the other side: of these
#: gradients those of ShuffleNet, SqueezeNet and Inception v1 are within 1e-6 of the exact ones, that of Inception v2 is
#: 0.008 away. Tight comparisons, away from kinks, are in ``test_architectures.py``.
KINKS = 0.05


def randomised(name: str) -> onnx.ModelProto:
    """The network with random weights, at the scale that keeps activations as large as they are."""
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    rng = np.random.default_rng(0)
    shapes = {w.name: numpy_helper.to_array(w).tolist() for w in model.graph.initializer}
    readers = {value: (node, index) for node in model.graph.node for index, value in enumerate(node.input)}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        reader, index = readers[node.output[0]]
        if reader.op_type == "Unsqueeze":  # of a scale or a bias for every channel
            reader, index = readers[reader.output[0]]
        weight = random_weight(rng, shapes[node.input[0]], reader, index)
        model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def random_weight(rng: np.random.Generator, shape: list[int], reader: onnx.NodeProto, index: int) -> np.ndarray:
    role = (reader.op_type, index)
    if role == ("Conv", 1):
        return rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    if role == ("Gemm", 1):
        transposed = any(a.name == "transB" and a.i for a in reader.attribute)
        return rng.standard_normal(shape) * np.sqrt(2 / shape[1 if transposed else 0])
    if role in (("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 1)):
        return rng.uniform(0.5, 1.5, shape)
    return rng.standard_normal(shape) * 0.1


@dataclass(frozen=True)
class Subject:
    """A network, one image [1,3,224,224] for it, and the gradient of its highest score by torch in float64."""

    plain: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    score: float
    gradient: np.ndarray
    found: dict[str, dict[str, np.ndarray]]  # by form of the gradient: every output by name


@pytest.fixture(scope="module", params=NAMES)
def subject(request: pytest.FixtureRequest) -> Subject:
    plain = randomised(request.param)
    (name,) = {v.name for v in plain.graph.input} - {w.name for w in plain.graph.initializer}
    image = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 224, 224))).requires_grad_()
    best = scores(plain, image).flatten().max(0)
    (gradient,) = torch.autograd.grad(best.values, image)
    feeds = {name: image.detach().float().numpy(), "target": best.indices.numpy()[None]}
    found = {form: run(differentiate(plain, form=form), feeds, "ORT_ENABLE_ALL") for form in ("portable", "cpu")}
    return Subject(plain, feeds, best.values.item(), gradient.numpy(), found)


def gradient_of(outputs: dict[str, np.ndarray]) -> np.ndarray:
    (found,) = (array for name, array in outputs.items() if name.startswith("grad_"))
    return found


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    """The length of the difference, of the length of the exact gradient."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("form", ["portable", "cpu"])
def test_gradient_is_that_of_torch(subject: Subject, form: str) -> None:
    outputs = subject.found[form]
    assert outputs["score"] == pytest.approx([subject.score], rel=1e-5)
    found = gradient_of(outputs)
    assert found.shape == subject.gradient.shape
    assert distance(found, subject.gradient) < KINKS
    for wrong in (found * 1.1, np.roll(found, 1, axis=-1), found[:, ::-1]):
        assert distance(wrong, subject.gradient) > KINKS


def test_forms_agree(subject: Subject) -> None:
    """Both start from the same activations, so from the same sides of kinks."""
    assert distance(gradient_of(subject.found["cpu"]), gradient_of(subject.found["portable"])) < 1e-5


def test_outputs_are_unchanged(subject: Subject) -> None:
    image = {name: array for name, array in subject.feeds.items() if name != "target"}
    for name, expected in run(subject.plain, image, "ORT_ENABLE_ALL").items():
        for outputs in subject.found.values():
            np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
