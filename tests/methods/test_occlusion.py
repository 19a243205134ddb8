"""Occlusion: exact values on models that can be written down, Captum's numbers, batches, options."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion
from onnx import helper

from onnxplain import Explainer, InputError
from onnxplain.methods import METHODS
from onnxplain.methods.helpers.perturbation import Inputs

from support import small_models as small


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(metadata=small.image_metadata()), batch_size=4)


class Network(torch.nn.Module):
    """Two convolutions to four classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.Conv2d(6, 8, 3, stride=2)
        self.last = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.last(x.mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def network() -> tuple[Network, Explainer]:
    network, exported = Network().eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 13, 11),),
            exported,
            input_names=["x"],
            dynamic_axes={"x": {0: "N"}},
            dynamo=False,
        )
    return network, Explainer(exported.getvalue())


def linear(channels_last: bool = False) -> Any:
    """logits [N,5] = W x without a bias."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "W"], ["logits"]),
    ]
    shape = ["N", 4, 4, 3] if channels_last else ["N", 3, 4, 4]
    return small.build(nodes, [("x", small.FLOAT, shape)], [("logits", small.FLOAT, ["N", 5])], {"W": small.WEIGHT})


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_linear_model_loses_w_times_x_minus_baseline_in_every_window(channels_last: bool) -> None:
    x = small.inputs(3).reshape(3, 4, 4, 3) if channels_last else small.inputs(3)
    axis = 3 if channels_last else 1
    explainer = Explainer(linear(channels_last), channel_axis=axis)
    baseline = np.linspace(-1, 1, 3).reshape((1, 1, 3) if channels_last else (3, 1, 1)).astype(np.float32)
    found = explainer.attribute(x, 2, method="occlusion", window=2, stride=2, baseline=baseline)
    lost = ((x - baseline) * small.WEIGHT[:, 2].reshape(x.shape[1:])).sum(axis=axis)
    expected = lost.reshape(3, 2, 2, 2, 2).sum(axis=(2, 4)).repeat(2, axis=1).repeat(2, axis=2)
    assert found.shape == (3, 4, 4) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "captum"),
    [
        ({"window": 3, "stride": 2}, {"sliding_window_shapes": (3, 3, 3), "strides": (3, 2, 2)}),
        ({"window": [5, 2], "stride": [3, 1]}, {"sliding_window_shapes": (3, 5, 2), "strides": (3, 3, 1)}),
        ({"window": 4, "stride": 4, "baseline": 0.5}, {"sliding_window_shapes": (3, 4, 4), "strides": 4}),
        ({"window": 3, "stride": 2, "channels": 1}, {"sliding_window_shapes": (1, 3, 3), "strides": (1, 2, 2)}),
        ({"window": 3, "stride": 2, "channels": 2}, {"sliding_window_shapes": (2, 3, 3), "strides": 2}),
        ({}, {"sliding_window_shapes": (3, 2, 2), "strides": (3, 1, 1)}),
    ],
)
def test_numbers_are_captum_s(
    network: tuple[Network, Explainer], options: Mapping[str, Any], captum: Mapping[str, Any]
) -> None:
    """To 1e-4 of the largest one, window by window and where windows are cut off at the border."""
    model, explainer = network
    x, targets = np.random.default_rng(1).standard_normal((3, 3, 13, 11)).astype(np.float32), [0, 3, 1]
    expected = CaptumOcclusion(model).attribute(
        torch.from_numpy(x), target=torch.tensor(targets), baselines=options.get("baseline", 0), **captum
    )
    found = explainer.attribute(x, targets, method="occlusion", **options)
    expected = expected.detach().numpy() if "channels" in options else expected.detach().numpy()[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))


def test_signals_and_tables() -> None:
    signal, x = Explainer(small.signal()), np.random.default_rng(0).standard_normal((2, 2, 6)).astype(np.float32)
    found = signal.attribute(x, 1, method="occlusion", window=2, stride=1)
    assert found.shape == (2, 6)
    hidden = x.copy()
    hidden[:, :, :2] = 0
    np.testing.assert_allclose(found[:, 0], (signal.scores(x) - signal.scores(hidden))[:, 1], rtol=1e-4, atol=1e-5)
    rows = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    table = Explainer(small.product(), wrt="a")
    found = table.attribute({"a": rows, "b": rows + 1}, 2, method="occlusion", baseline=[0, 0, 3, 0])
    assert list(found) == ["a"]
    expected = np.zeros((5, 4))
    expected[:, 2] = (rows[:, 2] - 3) * (rows[:, 2] + 1)
    np.testing.assert_allclose(found["a"], expected, rtol=1e-5, atol=1e-6)


def test_nothing_depends_on_the_batch(explainer: Explainer) -> None:
    x, targets = small.inputs(5), [0, 1, 2, 3, 4]
    expected = explainer.attribute(x, targets, method="occlusion", window=3)
    for model, size in ((small.quadratic(), 1), (small.quadratic(), 7), (small.quadratic(batch=2), None)):
        found = Explainer(model, batch_size=size).attribute(x, targets, method="occlusion", window=3)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_mean_and_blur_hide_with_the_sample_itself(explainer: Explainer) -> None:
    x = small.inputs(2)
    mean = np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape)
    found = explainer.attribute(x, 1, method="occlusion", window=4, baseline="mean")
    lost = small.quadratic_scores(x)[:, 1] - small.quadratic_scores(mean)[:, 1]
    np.testing.assert_allclose(found, np.broadcast_to(lost[:, None, None], (2, 4, 4)), rtol=1e-4)
    even = np.full_like(x, 0.7)
    np.testing.assert_allclose(explainer.attribute(even, 1, method="occlusion", baseline="blur"), 0, atol=1e-4)
    assert np.abs(explainer.attribute(x, 1, method="occlusion", baseline="blur")).max() > 0.1


def test_whole_numbers_stay_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    explainer = Explainer(small.quadratic_uint8())
    found = explainer.attribute(pixels, 0, method="occlusion", window=4, baseline="mean")
    mean = np.rint(pixels.mean(axis=(2, 3), keepdims=True)).astype(np.uint8)
    lost = explainer.scores(pixels) - explainer.scores(np.broadcast_to(mean, pixels.shape).copy())
    np.testing.assert_allclose(found[:, 0, 0], lost[:, 0], rtol=1e-5)


def test_maps_show_what_speaks_for_the_class_and_signed_maps_both(explainer: Explainer) -> None:
    x = small.inputs(2)
    raw = explainer.attribute(x, 1, method="occlusion")
    maps = explainer.saliency(x, 1, method="occlusion", normalize="none")
    np.testing.assert_array_equal(maps, np.maximum(raw, 0))
    by_channel = explainer.attribute(x, 1, method="occlusion", channels=1)
    maps = explainer.saliency(x, 1, method="occlusion", channels=1, normalize="none")
    assert by_channel.shape == x.shape
    np.testing.assert_allclose(maps, np.maximum(by_channel.sum(axis=1), 0), rtol=1e-6)
    photo = small.picture()
    found = explainer.explain(photo, 1, method="occlusion")
    assert found.attribution.shape == (4, 4) and found.signed.shape == photo.shape[:2]
    assert found.signed.min() < 0 < found.signed.max()


def test_the_predicted_class_and_the_best_three(explainer: Explainer) -> None:
    x = small.inputs(3)
    order = np.argsort(-explainer.scores(x), axis=1)
    found = explainer.attribute(x, "top3", method="occlusion")
    assert found.shape == (3, 3, 4, 4)
    np.testing.assert_array_equal(found[:, 0], explainer.attribute(x, method="occlusion"))
    np.testing.assert_allclose(found[:, 2], explainer.attribute(x, order[:, 2], method="occlusion"), rtol=1e-6)


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_more_classes_take_no_more_runs(explainer: Explainer, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run gives the scores of all classes."""
    runs: list[int] = []
    scores = Inputs.scores

    def counted(self: Inputs, perturbed: np.ndarray) -> np.ndarray:
        runs.append(len(perturbed))
        return scores(self, perturbed)

    monkeypatch.setattr(Inputs, "scores", counted)
    explainer.attribute(small.inputs(3), method=method)
    once = list(runs)
    runs.clear()
    explainer.attribute(small.inputs(3), "top3", method=method)
    assert runs == once


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 5}, "window of 5 does not fit an axis of 4"),
        ({"window": 2, "stride": 3}, "stride of 3 leaves gaps between windows of 2"),
        ({"window": 0}, "window is a positive whole number, or 2 of them; found 0"),
        ({"window": (1, 2, 3)}, "window is a positive whole number, or 2 of them"),
        ({"channels": 4}, "window of 4 does not fit an axis of 3"),
        ({"baseline": "grey"}, "baseline 'grey' is unknown"),
        ({"baseline": float("nan")}, "finite number.*found nan"),
        ({"baseline": np.zeros((2, 3, 4, 4))}, r"shape \[2, 3, 4, 4\] does not fit images \[1, 3, 4, 4\]"),
    ],
)
def test_options_that_do_not_fit_are_refused(explainer: Explainer, options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        explainer.attribute(small.inputs(1), 0, method="occlusion", **options)


def test_tables_have_no_mean_of_their_own_and_no_channels() -> None:
    table = Explainer(small.product(), wrt="a")
    rows = {"a": np.ones((1, 4), np.float32), "b": np.ones((1, 4), np.float32)}
    with pytest.raises(InputError, match="mean of each feature over other rows"):
        table.attribute(rows, 0, method=METHODS["occlusion"](baseline="mean"))
    with pytest.raises(InputError, match="'a' has none"):
        table.attribute(rows, 0, method="occlusion", channels=1)
