"""Maps reduced in the graph, as the form for CUDA has them, run on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer
from onnxplain.autodiff.explainable import DifferentiatedModel
from onnxplain.autodiff.request import Request
from onnxplain.model import loading
from onnxplain.runtime import CPU

from support import small_models as small


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loading._FORMS, CPU, "cuda")


def fetched(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The outputs that the explainer's session is asked for."""
    names: list[str] = []
    session = explainer._attributor.session
    run = session.run

    def watched(feeds: Any, outputs: Any, *kept: Any) -> Any:
        names.extend(outputs)
        return run(feeds, outputs, *kept)

    monkeypatch.setattr(session, "run", watched)
    return names


@pytest.mark.usefixtures("on_cuda")
@pytest.mark.parametrize("normalize", ["max", "minmax", "percentile", "none"])
@pytest.mark.parametrize("target", [3, None, "top3"])
def test_same_maps_without_the_channels(normalize: Any, target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = small.inputs(5)
    reduced = Explainer(small.quadratic(), cache=False)
    names = fetched(reduced, monkeypatch)
    found = reduced.saliency(x, target, normalize=normalize)
    assert "magnitude_x" in names and "grad_x" not in names
    monkeypatch.setitem(loading._FORMS, CPU, "portable")
    whole = Explainer(small.quadratic(), cache=False)
    names = fetched(whole, monkeypatch)
    np.testing.assert_array_equal(found, whole.saliency(x, target, normalize=normalize))
    assert "grad_x" in names


@pytest.mark.usefixtures("on_cuda")
def test_attributions_and_other_methods_keep_their_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    x = small.inputs(3)
    explainer = Explainer(small.quadratic(), cache=False)
    names = fetched(explainer, monkeypatch)
    np.testing.assert_allclose(explainer.attribute(x, 1), small.quadratic_gradient(x, [1] * 3), rtol=1e-6)
    explainer.saliency(x, 1, method="gradient_x_input")
    assert "magnitude_x" not in names


@pytest.mark.usefixtures("on_cuda")
def test_a_channel_axis_of_the_caller_s_choice_is_reduced_on_the_host() -> None:
    x = small.inputs(3)
    found = Explainer(small.quadratic(), channel_axis=3, cache=False).saliency(x, 1, normalize="none")
    np.testing.assert_allclose(found, np.abs(small.quadratic_gradient(x, [1] * 3)).max(3), rtol=1e-6)


def test_only_the_form_for_cuda_has_them() -> None:
    for provider, expected in (("cuda", "magnitude_x"), ("cpu", None), ("portable", None)):
        model = DifferentiatedModel.build(small.quadratic(), Request.of(form=provider))
        assert [g.magnitude for g in model.signature.gradients] == [expected]
        assert (expected in {v.name for v in model.proto.graph.output}) == (expected is not None)
