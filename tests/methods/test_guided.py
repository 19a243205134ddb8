"""Guided backpropagation and deconvnets against Captum, and where they differ from plain gradients or are refused."""

from __future__ import annotations

import captum.attr
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from torch import nn

import onnxplain
from onnxplain import Explainer, InputError

from support import small_models as small
from support.torch_twins import assert_agree, twins

METHODS = {"guided_backprop": captum.attr.GuidedBackprop, "deconvnet": captum.attr.Deconvolution}
pytestmark = pytest.mark.filterwarnings("ignore:Setting (backward|forward) hooks:UserWarning")


@pytest.mark.parametrize("method", METHODS)
def test_captum_agrees(method: str) -> None:
    pair = twins()
    found = pair.explainer.attribute(pair.x, pair.targets, method=method)
    assert_agree(found, METHODS[method](pair.torch).attribute(pair.tensor, pair.targets))
    plain = pair.explainer.attribute(pair.x, pair.targets)
    assert np.abs(found - plain).max() > 0.1 * np.abs(plain).max()


W1 = np.array([[2, -2, 3, 9], [-1, 2, 1, 9]], np.float32)
W2 = np.array([[1, -3], [-2, 1], [2, 2], [1, 1]], np.float32)
X = np.array([[1, -2], [0.5, 1], [-1, 3]], np.float32)


def clipped(low: float | None, high: float | None, before: str = "h") -> onnx.ModelProto:
    """x [N,2] -> clip(x W1) W2 [N,2]."""
    bounds = {name: np.float32(bound) for name, bound in (("low", low), ("high", high)) if bound is not None}
    names = ["low" if low is not None else "", "high" if high is not None else ""]
    nodes = [
        helper.make_node("MatMul", ["x", "W1"], ["h"]),
        helper.make_node("Clip", ["h", *names], ["r"]),
        helper.make_node("MatMul", ["r", "W2"], ["y"]),
    ]
    constants = {"W1": W1, "W2": W2, **{name: np.asarray(value) for name, value in bounds.items()}}
    return small.build(nodes, [("x", small.FLOAT, ["N", 2])], [("y", small.FLOAT, ["N", 2])], constants)


@pytest.mark.parametrize("high", [6.0, None])
def test_clipping_at_zero_is_a_relu(high: float | None) -> None:
    explainer, hidden = Explainer(clipped(0.0, high)), X @ W1
    active = (hidden > 0) & (hidden < (np.inf if high is None else high))
    guided = (np.maximum(W2[:, 1], 0) * active) @ W1.T
    np.testing.assert_allclose(explainer.attribute(X, 1, method="guided_backprop"), guided, rtol=1e-6)
    rectified = np.broadcast_to(np.maximum(W2[:, 1], 0) @ W1.T, X.shape)
    np.testing.assert_allclose(explainer.attribute(X, 1, method="deconvnet"), rectified, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (None, 6.0)])
def test_models_without_relu_are_refused(method: str, bounds: tuple[float | None, float]) -> None:
    with pytest.raises(InputError, match="no Relu or Clip"):
        Explainer(clipped(*bounds)).attribute(X, 0, method=method)


def test_a_relu_beside_the_path_does_not_count() -> None:
    model = clipped(-1.0, 1.0)
    model.graph.node.append(helper.make_node("Relu", ["h"], ["features"]))
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", 4]))
    with pytest.raises(InputError, match="no Relu or Clip"):
        Explainer(model, tensor="y").attribute(X, 0, method="guided_backprop")


@pytest.mark.parametrize("method", METHODS)
def test_other_activations_keep_their_derivative(method: str) -> None:
    pair = twins(nn.SiLU)
    with pytest.raises(InputError, match="no Relu or Clip"):
        pair.explainer.attribute(pair.x, pair.targets, method=method)


def test_bundled_model_has_clips() -> None:
    explainer = Explainer()
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), dtype=np.float32)
    plain, guided = (explainer.attribute(x, 207, method=method) for method in ("saliency", "guided_backprop"))
    assert np.isfinite(guided).all() and np.corrcoef(plain.ravel(), guided.ravel())[0, 1] < 0.9


def test_a_rule_may_leave_a_node_to_the_usual_one() -> None:
    plain = onnxplain.differentiate(clipped(-1.0, 1.0))
    left = onnxplain.differentiate(clipped(-1.0, 1.0), rules={"Clip": lambda emit, node, dy: NotImplemented})
    assert left.graph == plain.graph
    assert {p.key: p.value for p in left.metadata_props}["onnxplain.replaced_rules"] == "0"


def test_sets_of_rules_have_names() -> None:
    named = onnxplain.differentiate(clipped(0.0, 6.0), rules="guided_backprop")
    assert {p.key: p.value for p in named.metadata_props}["onnxplain.replaced_rules"] == "1"
    with pytest.raises(InputError, match=r"no set 'guided'; there are 'guided_backprop', 'deconvnet'"):
        onnxplain.differentiate(clipped(0.0, 6.0), rules="guided")
