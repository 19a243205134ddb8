"""Models without gradients: trees and others, explained by running them forwards."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from PIL import Image

from onnxplain import Explainer, InputError, ModelError, UnsupportedOperatorError, cli, differentiate
from onnxplain.autodiff.explainable import DifferentiatedModel
from onnxplain.autodiff.request import Request

from producers.fixture import load
from support import small_models as small

TREES = [
    "boosting_lightgbm_classifier",
    "boosting_lightgbm_regressor",
    "boosting_xgboost_classifier",
    "boosting_xgboost_regressor",
    "sklearn_refused_forest_wine",
]


def own_scores(path: Path, x: np.ndarray) -> np.ndarray:
    """What the model itself returns: probabilities by class, or the value of a regressor."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x})[-1]
    return np.array([[row[k] for k in sorted(row)] for row in found]) if isinstance(found, list) else found


@pytest.mark.parametrize("name", TREES)
def test_trees_are_explained_by_what_they_return(name: str) -> None:
    fixture = load(name)
    explainer = Explainer(fixture.model, gradients=False)
    x = next(iter(fixture.inputs.values()))
    before = own_scores(fixture.model, x)
    np.testing.assert_allclose(explainer.scores(x), before, rtol=1e-6)
    found = explainer.attribute(x, method="occlusion", baseline=x.mean(axis=0))
    assert found.shape == x.shape
    best = before.argmax(axis=1)
    for feature in range(x.shape[1]):
        hidden = x.copy()
        hidden[:, feature] = x.mean(axis=0)[feature]
        lost = (before - own_scores(fixture.model, hidden))[np.arange(len(x)), best]
        np.testing.assert_allclose(found[:, feature], lost, rtol=1e-4, atol=1e-4 * float(np.abs(before).max()))
    assert explainer.saliency(x, method="occlusion").shape == x.shape
    assert np.isfinite(explainer.attribute(x, method="rise", masks=20)).all()


@pytest.mark.parametrize("name", TREES)
def test_without_saying_so_trees_are_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(ModelError, match=r"TreeEnsemble.*Explainer\(model, gradients=False\) with method='occlusion'"):
        Explainer(load(name).model)


def test_methods_with_gradients_are_refused() -> None:
    explainer = Explainer(load("boosting_xgboost_regressor").model, gradients=False)
    x = next(iter(load("boosting_xgboost_regressor").inputs.values()))
    for method in ("saliency", "gradient_x_input", "grad_cam"):
        with pytest.raises(InputError, match=f"'{method}' needs gradients.*gradients=False.*method='occlusion'"):
            explainer.attribute(x, method=method)


def test_a_network_is_explained_alike_with_and_without_gradients() -> None:
    x = small.inputs(3)
    model = small.quadratic(metadata=small.image_metadata(), ending="Softmax")
    without = Explainer(model, gradients=False)
    for method, options in (("occlusion", {}), ("rise", {"masks": 20})):
        expected = Explainer(model).attribute(x, method=method, **options)
        np.testing.assert_allclose(without.attribute(x, method=method, **options), expected, rtol=1e-6)
    found = without.explain(small.picture(), "cat", method="occlusion")
    assert found.label == "cat" and found.probability is not None and not found.straight_through
    with pytest.raises(InputError, match="needs gradients"):
        without.explain(small.picture(), "cat")


def test_nothing_but_scores_is_computed() -> None:
    model = DifferentiatedModel.build(small.quadratic(ending="Softmax"), Request.of(gradients=False))
    assert model.signature.gradients == () and model.signature.perturbed == ("x",)
    assert [node.op_type for node in model.scores_only().graph.node][:3] == ["Mul", "Flatten", "Gemm"]
    already = DifferentiatedModel.build(differentiate(small.quadratic()), Request.of(gradients=False))
    assert already.signature.gradients == () and already.signature.perturbed == ("x",)


def steps(*shape: int, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
    """Steps in the middle of a network: x [N, *shape] compared with a threshold, weighted for two classes."""
    nodes = [
        helper.make_node("Greater", ["x", "threshold"], ["above"]),
        helper.make_node("Cast", ["above"], ["counted"], to=small.FLOAT),
        helper.make_node("Flatten", ["counted"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "W"], ["y"]),
    ]
    weight = np.arange(2 * math.prod(shape), dtype=np.float32).reshape(-1, 2)
    constants = {"threshold": np.array(0.5, np.float32), "W": weight}
    outputs = [("y", small.FLOAT, ["N", 2])]
    return small.build(nodes, [("x", small.FLOAT, ["N", *shape])], outputs, constants, metadata)


def test_operators_that_nobody_can_differentiate() -> None:
    model = steps(4)
    with pytest.raises(ModelError, match="gradients=False"):
        Explainer(model)
    x = np.array([[1, 0, 1, 0]], np.float32)
    found = Explainer(model, gradients=False).attribute(x, 1, method="occlusion")
    np.testing.assert_array_equal(found, [[1, 0, 5, 0]])


def test_the_command_line_needs_gradients_for_methods_that_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(steps(3, 4, 4, metadata=small.image_metadata(labels=("red", "green"))), tmp_path / "model.onnx")
    Image.fromarray(small.picture()).save(tmp_path / "photo.png")
    for method, code in (("occlusion", 0), ("saliency", 1)):
        arguments = ["explain", "model.onnx", "photo.png", "--method", method]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["onnxplain", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert (caught.value.code or 0) == code
    assert (tmp_path / "photo_occlusion.png").is_file()
    assert "gradients=False" in capsys.readouterr().err


def test_an_input_is_chosen_by_its_name() -> None:
    x = {"a": np.ones((2, 4), np.float32), "b": np.full((2, 4), 3, np.float32)}
    both = Explainer(small.product(), gradients=False).attribute(x, 1, method="occlusion")
    assert list(both) == ["a", "b"]
    one = Explainer(small.product(), gradients=False, wrt="b").attribute(x, 1, method="occlusion")
    assert list(one) == ["b"]
    np.testing.assert_array_equal(one["b"], both["b"])
    with pytest.raises(InputError, match="only inputs can be explained: a, b; found 'logits'"):
        Explainer(small.product(), gradients=False, wrt="logits")


def test_an_output_of_whole_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="name a float tensor"):
        Explainer(small.no_path(), gradients=False)
    with pytest.raises(UnsupportedOperatorError):
        Explainer(small.unsupported())


@pytest.mark.skipif("ONNXPLAIN_ZOO" not in os.environ, reason="ONNXPLAIN_ZOO is not set")
def test_a_forest_looks_at_the_strokes_of_a_digit() -> None:
    """What is empty loses nothing when it is hidden; the stroke that tells a seven loses most."""
    explainer = Explainer(Path(os.environ["ONNXPLAIN_ZOO"]) / "models" / "digits_rf_sklearn.onnx", gradients=False)
    seven = np.zeros((8, 8), np.float32)
    seven[1, 2:7] = 16
    seven[range(2, 7), [5, 5, 4, 4, 3]] = 16
    x = seven.reshape(1, 64)
    assert explainer.scores(x).argmax() == 7
    found = explainer.attribute(x, 7, method="occlusion").reshape(8, 8)
    np.testing.assert_allclose(found[seven == 0], 0, atol=1e-6)
    assert found.max() > 0 and seven[np.unravel_index(found.argmax(), (8, 8))] == 16
