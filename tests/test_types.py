"""float64 and float16 models: the first suitable case of every operator of these families, in the model's own type."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain.autodiff import differentiate

from cases import activation, arithmetic, normalization, reduction
from cases.base import Case
from checker import session, torch_gradients

#: What ONNX Runtime's CPU provider cannot run forward.
WITHOUT_KERNEL = {
    "float64": {
        "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cosh", "Erf", "Gelu", "InstanceNormalization",
        "LRN", "Mean", "MeanVarianceNormalization", "Sinh", "Tan",
    },
    "float16": {"Celu", "LRN", "MeanVarianceNormalization"},
}  # fmt: skip
TOLERANCE = {"float64": 1e-6, "float16": 1e-2}  # the statistics of LayerNormalization are float32 for float64 too


#: Products of 72 factors underflow in float16.
LEFT_OUT = {"ReduceProd-all", "ReduceProd-all-dropped", "ReduceProd-empty-axes"}


def _first_cases() -> list[Case]:
    cases = [*activation.CASES, *arithmetic.CASES, *normalization.CASES, *reduction.CASES]
    usable = [case for case in cases if case.torch is not None and not case.runtime and case.id not in LEFT_OUT]
    first = {case.op: case for case in reversed(usable)}
    return sorted(first.values(), key=lambda case: case.id)


CHECKS = [(c, kind) for kind, missing in WITHOUT_KERNEL.items() for c in _first_cases() if c.op not in missing]


@pytest.mark.parametrize(("case", "kind"), CHECKS, ids=[f"{case.id}-{kind}" for case, kind in CHECKS])
def test_gradient_in_the_type_of_the_model(case: Case, kind: str) -> None:
    dtype = np.dtype(kind)
    runner = session(differentiate(case.model(dtype, None), wrt=case.wrt(), seed="cotangent"))
    feeds = {name: np.asarray(array, dtype=dtype) for name, array in case.feeds(1, 3).items()}
    forward = session(case.model(dtype, None)).run(None, feeds)[0]
    cotangent = np.random.default_rng(2).standard_normal(forward.shape).astype(dtype)
    found = runner.run([f"grad_{name}" for name in case.wrt()], {**feeds, "cotangent": cotangent})
    exact = {name: array.astype(np.float64) for name, array in feeds.items()}
    for name, gradient in zip(case.wrt(), found):
        assert gradient.dtype == dtype
        expected = torch_gradients(case, exact, cotangent.astype(np.float64))[name]
        scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=TOLERANCE[kind] * scale)
