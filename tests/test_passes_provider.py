"""Who gets which form of the gradient graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import onnxplain
from onnxplain.autodiff import differentiate
from onnxplain.autodiff.differentiated import DifferentiatedModel
from onnxplain.runtime import CPU, expected

from gradient_passes import gradient_operators
from small_models import FLOAT, build, signal


def test_the_default_is_portable() -> None:
    assert "ConvTranspose" in gradient_operators(differentiate(signal()))
    for provider in ("portable", "cuda"):
        assert differentiate(signal(), provider=provider) == differentiate(signal())


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(onnxplain.InputError, match="provider must be one of 'portable', 'cpu', 'cuda'; found 'tpu'"):
        differentiate(signal(), provider="tpu")


def test_the_explainer_takes_the_forms_for_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    build = DifferentiatedModel.build

    def watched(*args: Any, provider: str, **options: Any) -> DifferentiatedModel:
        seen.append(provider)
        return build(*args, provider=provider, **options)

    monkeypatch.setattr(DifferentiatedModel, "build", watched)
    explainer = onnxplain.Explainer(signal(), providers=CPU, cache=False)
    assert seen == ["cpu"] and explainer.provider == CPU
    x = np.random.default_rng(0).standard_normal((3, 2, 6)).astype(np.float32)
    portable = DifferentiatedModel.build(signal(), provider="portable")
    monkeypatch.setattr(DifferentiatedModel, "build", lambda *args, **options: portable)
    plain = onnxplain.Explainer(signal(), providers=CPU, cache=False).attribute(x, 1)
    np.testing.assert_allclose(explainer.attribute(x, 1), plain, rtol=1e-6, atol=1e-6)


def test_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    assert expected(None) == expected([CPU]) == expected(["CUDAExecutionProvider", CPU]) == CPU
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    assert expected(None) == "CUDAExecutionProvider"
    assert expected(CPU) == CPU


def test_a_graph_without_anything_to_rewrite_stays_as_it_is() -> None:
    nodes = [helper.make_node("Gemm", ["x", "W"], ["y"]), helper.make_node("Sin", ["y"], ["logits"])]
    model = build(nodes, [("x", FLOAT, ["N", 4])], [("logits", FLOAT, ["N", 3])], {"W": np.ones((4, 3), np.float32)})
    assert differentiate(model, provider="cpu") == differentiate(model)
