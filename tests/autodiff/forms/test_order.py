"""Who gets which form of the gradient graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import onnxplain
from onnxplain.autodiff import differentiate
from onnxplain.autodiff.explainable import DifferentiatedModel
from onnxplain.autodiff.request import Request
from onnxplain.runtime import CPU, expected

from support.gradient_passes import gradient_operators
from support.small_models import FLOAT, build, signal


def test_the_default_is_portable() -> None:
    assert "ConvTranspose" in gradient_operators(differentiate(signal()))
    for provider in ("portable", "cuda"):
        assert differentiate(signal(), form=provider) == differentiate(signal())


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(
        onnxplain.InputError, match=r"form must be 'portable', 'cpu', 'cpu_shared', 'cuda' or 'openvino'; found 'tpu'"
    ):
        differentiate(signal(), form="tpu")


def watched_forms(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every differentiation, by the form that was asked for."""
    seen: list[str] = []
    build = DifferentiatedModel.build

    def watched(source: Any, request: Request) -> DifferentiatedModel:
        seen.append(request.form)
        return build(source, request)

    monkeypatch.setattr(DifferentiatedModel, "build", watched)
    return seen


def test_the_explainer_takes_the_forms_for_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for a sample that all cores share; for many samples, each with a core to itself, another."""
    seen = watched_forms(monkeypatch)
    explainer = onnxplain.Explainer(signal(), providers=CPU, cache=False, threads=2, batch_size=2)
    assert seen == ["cpu_shared"] and explainer.provider == CPU
    x = np.random.default_rng(0).standard_normal((8, 2, 6)).astype(np.float32)
    portable = DifferentiatedModel.build(signal(), Request.of(form="portable"))
    seen.clear()
    found = [explainer.attribute(x[:1], 1), explainer.attribute(x, 1), explainer.attribute(x, 1)]
    assert seen == ["cpu"]
    monkeypatch.setattr(DifferentiatedModel, "build", lambda *args, **options: portable)
    plain = onnxplain.Explainer(signal(), providers=CPU, cache=False).attribute(x, 1)
    for array in found:
        np.testing.assert_allclose(array, plain[: len(array)], rtol=1e-6, atol=1e-6)


def test_one_thread_has_a_core_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched_forms(monkeypatch)
    onnxplain.Explainer(signal(), providers=CPU, cache=False, threads=1).attribute(np.ones((4, 2, 6), np.float32), 1)
    assert seen == ["cpu"]


def test_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    assert expected(None) == expected([CPU]) == expected(["CUDAExecutionProvider", CPU]) == CPU
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    assert expected(None) == "CUDAExecutionProvider"
    assert expected(CPU) == CPU


def test_a_graph_without_anything_to_rewrite_stays_as_it_is() -> None:
    nodes = [helper.make_node("Gemm", ["x", "W"], ["y"]), helper.make_node("Sin", ["y"], ["logits"])]
    model = build(nodes, [("x", FLOAT, ["N", 4])], [("logits", FLOAT, ["N", 3])], {"W": np.ones((4, 3), np.float32)})
    assert differentiate(model, form="cpu") == differentiate(model)
