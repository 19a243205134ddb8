"""Run onnxplain over every differentiable case of the standard and sort them: right, refused, wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxplain import OnnxplainError
from onnxplain.autodiff import differentiate

from support.conformance.cases import StandardCase, derivative, reaching, session, standard_cases

TOLERANCE = {"float64": 1e-3, "float32": 1e-3, "float16": 3e-2, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Verdict:
    """What became of one case."""

    case: StandardCase
    outcome: str  # right, refused or wrong
    reason: str = ""


def judge(case: StandardCase, wrt: Sequence[str]) -> Verdict | None:
    """The verdict on the gradient with respect to ``wrt``; None for a case that has no derivative."""
    expected = derivative(case, wrt)
    if expected is None:
        return None
    try:
        model = differentiate(case.model, tensor=case.output, wrt=wrt, target="cotangent")
    except OnnxplainError as error:
        return Verdict(case, "refused", str(error))
    names = {p.key: p.value for p in model.metadata_props}
    try:
        runner = session(model)
        cotangent = expected.cotangent.astype(_dtype(case, runner, names["onnxplain.cotangent"]))
        outputs = [names[f"onnxplain.grad.{name}"] for name in wrt]
        gradients = runner.run(outputs, {**case.feeds, names["onnxplain.cotangent"]: cotangent})
    except Exception as error:  # a model that does not run is wrong, whatever the runtime raises
        return Verdict(case, "wrong", f"does not run: {error}")
    found = sum(float(np.sum(np.asarray(g, dtype=np.float64) * expected.directions[n])) for n, g in zip(wrt, gradients))
    size = float(np.sqrt(sum(np.sum(np.square(np.asarray(g, dtype=np.float64))) for g in gradients)))
    tolerance = max(TOLERANCE[str(case.feeds[name].dtype)] for name in wrt)
    if abs(found - expected.value) <= tolerance * max(abs(expected.value), size):
        return Verdict(case, "right")
    return Verdict(case, "wrong", f"{found:.6g} instead of {expected.value:.6g}")


def _dtype(case: StandardCase, runner: object, name: str) -> np.dtype:  # type: ignore[type-arg]
    kinds = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}
    kind = next(i.type for i in runner.get_inputs() if i.name == name)  # type: ignore[attr-defined]
    return np.dtype(kinds[kind])


def verdicts(every_input: bool) -> list[Verdict]:
    """Verdicts on all differentiable cases, for the first float input or for all of them at once."""
    found = []
    for case in standard_cases()[0]:
        wrt = reaching(case) if every_input else case.float_inputs[:1]
        verdict = judge(case, wrt) if wrt else None
        if verdict is not None:
            found.append(verdict)
    return found
