"""Layer normalisations of the gradient without second and third outputs: the same gradients."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.forms.plain_normalizations import plain_normalizations

from support.cases.base import Case, normal
from support.gradient_passes import LEVELS, gradient_operators, same_gradients

NAME = "plain_normalizations"
CASES = [
    Case("LayerNormalization", (normal("N", 3, 8), normal(8), normal(8)), {"axis": -1, "epsilon": 1e-3}),
    Case("LayerNormalization", (normal("N", 3, 8), normal(3, 8)), {"axis": 1}),
    Case("LayerNormalization", (normal("N", "T4", 6), normal(6)), {"axis": 2}),
    Case("InstanceNormalization", (normal("N", 3, 5, 4), normal(3), normal(3))),
    Case("InstanceNormalization", (normal("N", 3, "H5", "W4"), normal(3), normal(3))),
]


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (plain_normalizations,))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}-{len(case.inputs[0].shape)}")
def test_same_gradient(case: Case) -> None:
    model, report = same_gradients(case, LEVELS)
    assert report.counts()[NAME] == (1, 0)
    assert "LayerNormalization" not in gradient_operators(model)


def test_half_precision_is_normalised_in_float32() -> None:
    model = differentiate(CASES[0].model(np.dtype(np.float16), None), target="cotangent", form="cpu")
    assert "LayerNormalization" not in gradient_operators(model)


def test_the_portable_form_has_it() -> None:
    assert plain_normalizations in PASSES["portable"]
    assert not any(plain_normalizations in PASSES[name] for name in ("cpu_shared", "cuda"))
