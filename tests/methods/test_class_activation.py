"""Class activation maps against Captum and torch hooks, on networks exported from torch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnxruntime.quantization import QuantFormat
from torch import nn
from torch.nn import functional as F

import onnxplain
from onnxplain import Explainer, InputError, Target
from onnxplain.autodiff.landmarks.feature_maps import FeatureMap
from onnxplain.autodiff.landmarks.forward_graph import ForwardGraph
from onnxplain.autodiff.request import Request

from support import small_models as small
from support.architectures import ARCHITECTURES
from support.architectures.base import CLASSES, Architecture
from support.architectures.export import export
from support.quantized_network import X, network, quantize

TARGETS = [3, 0]


@dataclass(frozen=True)
class Subject:
    """A network in torch and in ONNX, the same layer in both, and inputs for them."""

    torch: nn.Module
    layer: nn.Module
    explainer: Explainer
    tensor: str
    x: np.ndarray

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.x.shape[2:])

    def captum(self, **options: Any) -> torch.Tensor:
        """Captum's Grad-CAM at the layer's resolution, [n, ...]."""
        method = captum.attr.LayerGradCam(self.torch, self.layer)
        found: torch.Tensor = method.attribute(torch.from_numpy(self.x), TARGETS, **options).detach()
        return found[:, 0]

    def hooked(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The layer's output and the gradient of the score with respect to it, by torch alone."""
        kept: list[torch.Tensor] = []
        handle = self.layer.register_forward_hook(lambda module, args, output: kept.append(output))
        scores = self.torch(torch.from_numpy(self.x))
        handle.remove()
        (gradient,) = torch.autograd.grad(scores[range(len(TARGETS)), TARGETS].sum(), kept[0])
        return kept[0].detach(), gradient

    def enlarged(self, maps: torch.Tensor, mode: str = "bilinear") -> np.ndarray:
        """By torch: Captum's interpolation, and that of every implementation in torch."""
        linear = {"mode": {1: "linear", 2: "bilinear"}[len(self.shape)], "align_corners": False}
        options: dict[str, Any] = linear if mode == "bilinear" else {"mode": mode}
        return F.interpolate(maps[:, None], self.shape, **options)[:, 0].numpy()


#: Architecture -> the module whose output the default layer is, and what the tensor is called.
LAYERS: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "resnet18": (lambda model: model.get_submodule("features.9"), "/features/features.9/Relu_output_0"),
    "vgg": (lambda model: model.get_submodule("features.13"), "/features/features.13/Relu_output_0"),
    "squeezenet": (lambda model: model.get_submodule("features.6"), "/features/features.6/Concat_output_0"),
    "mobilenet_v3": (lambda model: model.get_submodule("features.5"), "/features/features.5/features.5.2/HardSwish"),
    "convnext": (lambda model: model.get_submodule("features"), "/features/features.6/Add_1_output_0"),
    "cnn1d": (lambda model: model.get_submodule("features.9"), "/0/features/features.9/PRelu_output_0"),
}


@pytest.fixture(scope="module", params=LAYERS)
def subject(request: pytest.FixtureRequest) -> Subject:
    architecture = next(a for a in ARCHITECTURES if a.name == request.param)
    model = architecture.model()
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    find, tensor = LAYERS[request.param]
    x = architecture.inputs(2, seed=1).numpy()
    return Subject(model, find(model), Explainer(export(architecture, model, "torchscript"), batch_size=2), tensor, x)


def assert_agree(found: np.ndarray, expected: np.ndarray) -> None:
    """To 1e-4 of the largest magnitude."""
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_last_feature_map_is_found(subject: Subject) -> None:
    model = subject.explainer._attributor
    assert model.feature_map(model.gradients[0]).name.startswith(subject.tensor)


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam_is_captum_s(subject: Subject, relu: bool) -> None:
    expected = subject.captum(relu_attributions=relu)
    options: dict[str, Any] = {"method": "grad_cam", "relu": relu}
    raw = subject.explainer.attribute(subject.x, TARGETS, interpolation="none", **options)
    assert_agree(raw, expected.numpy())
    assert_agree(subject.explainer.attribute(subject.x, TARGETS, **options), subject.enlarged(expected))
    nearest = subject.explainer.attribute(subject.x, TARGETS, interpolation="nearest", **options)
    assert_agree(nearest, subject.enlarged(expected, "nearest"))


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_guided_grad_cam_is_captum_s(interpolation: str) -> None:
    """Captum replaces the backward pass of nn.ReLU modules alone: a network of nothing else."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 12, 3, 2), nn.ReLU())
    model = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES)).eval()
    architecture = Architecture("relus", lambda: model, (3, 33, 29))
    x = architecture.inputs(2, seed=0)
    method = captum.attr.GuidedGradCam(model, features)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU activations")
        expected = method.attribute(x, TARGETS, interpolate_mode=interpolation)
    found = Explainer(export(architecture, model, "torchscript")).attribute(
        x.numpy(), TARGETS, method="guided_grad_cam", interpolation=interpolation
    )
    assert_agree(found, expected.detach().numpy())


def grad_cam_plus_plus(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """As the paper writes it: alpha of the second and third derivatives of exp(S)."""
    places = tuple(range(2, a.ndim))
    alpha = g**2 / (2 * g**2 + a.sum(places, keepdim=True) * g**3)
    return ((alpha.nan_to_num() * g.relu()).sum(places, keepdim=True) * a).sum(1).relu()


def layer_cam(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    return (g.relu() * a).sum(1).relu()


def hires_cam(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    return (g * a).sum(1).relu()


def xgrad_cam(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    places = tuple(range(2, a.ndim))
    weights = ((g * a).sum(places, keepdim=True) / a.sum(places, keepdim=True)).nan_to_num()
    return (weights * a).sum(1).relu()


FORMULAS = [grad_cam_plus_plus, layer_cam, hires_cam, xgrad_cam]


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.__name__)
def test_formulas_of_the_papers(subject: Subject, formula: Callable[..., torch.Tensor]) -> None:
    expected = formula(*(array.double() for array in subject.hooked())).float()
    found = subject.explainer.attribute(subject.x, TARGETS, method=formula.__name__)
    assert_agree(found, subject.enlarged(expected))


def test_hires_cam_adds_up_to_the_score_before_a_linear_classifier() -> None:
    """Completeness, up to the bias: the sum over positions of sum_k g A."""
    x = small.inputs(3)
    shares = Explainer(small.quadratic()).attribute(x, [0, 1, 2], method="hires_cam", relu=False)
    scores = small.quadratic_scores(x)[range(3), range(3)] - small.BIAS[:3]
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), scores, rtol=1e-4)


def test_tensors_that_are_no_layer_are_refused() -> None:
    explainer = Explainer(small.quadratic())
    attribute: Callable[..., Any] = explainer.attribute
    with pytest.raises(InputError, match="'nowhere', which is not a tensor"):
        attribute(small.inputs(1), 0, method="grad_cam", layer="nowhere")
    with pytest.raises(InputError, match=r"'flat' has the shape \[N,48\]"):
        attribute(small.inputs(1), 0, method="grad_cam", layer="flat")
    with pytest.raises(InputError, match="interpolation is one of 'bilinear', 'nearest', 'none'; found 'cubic'"):
        attribute(small.inputs(1), 0, method="grad_cam", interpolation="cubic")
    with pytest.raises(InputError, match="map of the input's size"):
        attribute(small.inputs(1), 0, method="guided_grad_cam", interpolation="none")
    with pytest.raises(InputError, match="already differentiated"):
        Explainer(onnxplain.differentiate(small.quadratic())).attribute(small.inputs(1), 0, method="grad_cam")


def test_a_layer_that_the_score_does_not_depend_on_is_refused() -> None:
    model = small.quadratic()
    model.graph.node.append(helper.make_node("Neg", ["x"], ["beside"]))
    model.graph.output.append(helper.make_tensor_value_info("beside", small.FLOAT, ["N", 3, 4, 4]))
    with pytest.raises(InputError, match="does not depend on layer 'beside'"):
        Explainer(model).attribute(small.inputs(1), 0, method="grad_cam", layer="beside")


def test_models_without_positions_ask_for_a_layer() -> None:
    weight = np.ones((4, 2), np.float32)
    model = small.build(
        [helper.make_node("MatMul", ["x", "W"], ["logits"])],
        [("x", small.FLOAT, ["N", 4])],
        [("logits", small.FLOAT, ["N", 2])],
        {"W": weight},
    )
    with pytest.raises(InputError, match=r"no feature map .* layer="):
        Explainer(model).attribute(np.ones((1, 4), np.float32), 0, method="grad_cam")


def test_layouts_and_types_of_the_input_change_nothing() -> None:
    """Channels last, and whole numbers that are cast first: the same map as of floats with channels first."""
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    expected = Explainer(small.quadratic_uint8()).attribute(x, 1, method="grad_cam")
    plain = Explainer(small.quadratic()).attribute(x.astype(np.float32) / 255, 1, method="grad_cam")
    last = Explainer(small.quadratic_nhwc()).attribute(
        x.transpose(0, 2, 3, 1).astype(np.float32) / 255, 1, method="grad_cam"
    )
    assert expected.shape == (2, 4, 4)
    assert_agree(plain, expected)
    assert_agree(last, expected)


def nested(layout: str) -> onnx.ModelProto:
    """Features that are made channels last by tf2onnx's Transposes, or hidden behind a reshape of [N,C,h*w]."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((6, 3, 3, 3)), "v": rng.standard_normal((6, 5))}
    head = {
        "channels last": [
            helper.make_node("Transpose", ["features"], ["moved"], perm=[0, 2, 3, 1]),
            helper.make_node("ReduceMean", ["moved", "axes"], ["pooled"], keepdims=0),
        ],
        "flat": [
            helper.make_node("Reshape", ["features", "shape"], ["moved"]),
            helper.make_node("ReduceMean", ["moved", "last"], ["pooled"], keepdims=0),
        ],
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["features"]),
        *head[layout],
        helper.make_node("MatMul", ["pooled", "v"], ["logits"]),
    ]
    constants = {name: weight.astype(np.float32) for name, weight in weights.items()}
    constants |= {"axes": np.array([1, 2]), "last": np.array([2]), "shape": np.array([0, 6, -1])}
    return small.build(nodes, [("x", small.FLOAT, ["N", 3, 8, 9])], [("logits", small.FLOAT, ["N", 5])], constants)


@pytest.mark.parametrize("layout", ["channels last", "flat"])
def test_what_only_moves_features_is_no_layer(layout: str) -> None:
    graph = ForwardGraph.read(nested(layout), Request())
    assert graph.feature_map("x") == FeatureMap("features", 1, 0)


def test_a_named_layer_may_have_its_channels_last() -> None:
    explainer = Explainer(nested("channels last"))
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 9)).astype(np.float32)
    expected, found = (explainer.attribute(x, 1, method="grad_cam", layer=name) for name in ("features", "moved"))
    assert_agree(found, expected)


def test_positions_that_do_not_fit_the_input_are_refused() -> None:
    model = nested("flat")
    with pytest.raises(InputError, match="tokens of 'moved' are no grid"):
        Explainer(model).attribute(np.ones((1, 3, 8, 9), np.float32), 0, method="grad_cam", layer="moved")


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["pairs", "kernels"])
def test_quantised_models_look_where_the_float_model_does(form: QuantFormat, tmp_path: Path) -> None:
    model = quantize(tmp_path, "uint8", form)
    expected = Explainer(network()).attribute(X, TARGETS, method="grad_cam", interpolation="none")
    found = Explainer(model).attribute(X, TARGETS, method="grad_cam", interpolation="none")
    assert found.shape == expected.shape == (2, 6, 6)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


ZOO = Path(os.environ.get("ONNXPLAIN_ZOO", ""))
#: Real model -> its layer, and what the map's size is.
REAL = {
    "cifar10_resnet8_keras_nhwc": "model/activation_6/Relu:0",
    "dianna_season_timeseries_keras": "model_2/activation_5/Relu:0",
    "digits_vit_tiny": "/Add_9_output_0",
    "fastestdet_coco": "onnx::Conv_738",
    "mnist_cntk": "ReLU114_Output_0",
    "mobilenetv1_025_128_tflite_qdq_nhwc_uint8": "Relu6__57:0",
    "mobilenetv1_050_160_tf_nhwc_float": "Relu6__57:0",
    "ppocr_textangle_cls_paddle": "hardswish_17.tmp_0",
    "squeezenet10_caffe_deepcompression": "fire9/concat",
    "squeezenet10_winml_fp16": "fire9/concat_1",
    "vww96_mobilenetv1_025_keras_nhwc": "model/activation_26/Relu:0",
}


@pytest.mark.skipif("ONNXPLAIN_ZOO" not in os.environ, reason="ONNXPLAIN_ZOO is not set to a folder of models")
@pytest.mark.parametrize("name", REAL)
def test_real_models(name: str) -> None:
    """The layer is found under the name it has in the file, and the map has the size of the input."""
    path = ZOO / "models" / f"{name}.onnx"
    assert REAL[name] in {output for node in onnx.load(path).graph.node for output in node.output}
    explainer = Explainer(path)
    model = explainer._attributor
    assert model.feature_map(model.gradients[0]).name == REAL[name]
    tensor = explainer.inputs[0]
    shape = [1, *(extent if isinstance(extent, int) else 48 for extent in tensor.shape[1:])]
    x = np.random.default_rng(0).integers(0, 256, shape).astype(tensor.dtype)
    target = Target(at="all") if explainer.has_places else None
    found = explainer.attribute(x, target, method="grad_cam", relu=False)
    assert list(found.shape) == [extent for axis, extent in enumerate(shape) if axis != tensor.channel_axis]
    assert np.isfinite(found).all() and found.any()
