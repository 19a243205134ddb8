"""The gradient checker: three independent ways to see whether a rule is right.

1. Finite differences. The forward model runs in float64 through ONNX's reference evaluator; for a
   random cotangent c and random directions v, (c . f(x + h v) - c . f(x - h v)) / 2h must equal
   grad . v, where grad is what the differentiated float32 model returns in ONNX Runtime.
2. torch.autograd in float64, element by element, where the case has a torch twin.
3. The differentiated model with batch 1, batch 3 and a symbolic batch in ONNX Runtime.

A gradient that is wrong by 0.1 % fails (``test_checker.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.reference import ReferenceEvaluator

from onnxplain.autodiff import differentiate

from support.cases.base import Case, Input

Arrays = dict[str, np.ndarray]
DIRECTIONS = 3
TOLERANCE = 1e-4  # of the expected size of a directional derivative; float32 rounding is about 1e-6


class GradientMismatch(AssertionError):
    """A gradient differs from what it is compared with."""


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def check(case: Case, seed: int = 0) -> None:
    """Check every gradient of ``case`` in every way that applies."""
    symbolic = session(differentiate(case.model(np.dtype(np.float32), None), wrt=case.wrt(), target="cotangent"))
    has_batch = any("N" in value.shape for _, value in case.drawn())
    for batch in (1, 3) if has_batch else (1,):
        feeds = case.feeds(seed + batch, batch)
        cotangent = _cotangent(case, feeds, seed)
        gradients = run_gradients(symbolic, case, feeds, cotangent)
        if has_batch:
            fixed = differentiate(case.model(np.dtype(np.float32), batch), wrt=case.wrt(), target="cotangent")
            compare(run_gradients(session(fixed), case, feeds, cotangent), gradients, 1e-5, "fixed batch")
        if case.tie_free:
            check_finite_differences(case, feeds, cotangent, gradients, seed)
        if case.torch is not None:
            compare(torch_gradients(case, feeds, cotangent), gradients, 1e-5, "torch")
    if not case.tie_free and case.torch is None:
        raise ValueError(f"{case.id} is compared with nothing")


def _cotangent(case: Case, feeds: Arrays, seed: int) -> np.ndarray:
    y = forward(case, feeds)
    return np.random.default_rng(seed + 100).standard_normal(y.shape)


def forward(case: Case, feeds: Arrays) -> np.ndarray:
    """The output: float64 through the reference evaluator, or float32 through ONNX Runtime."""
    if case.reference:
        model = case.model(np.dtype(np.float64), None)
        return np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])
    result = session(case.model(np.dtype(np.float32), None)).run(None, _float32(feeds))[0]
    return np.asarray(result, dtype=np.float64)


def run_gradients(runner: onnxruntime.InferenceSession, case: Case, feeds: Arrays, cotangent: np.ndarray) -> Arrays:
    wanted = {i.name for i in runner.get_inputs()}
    inputs = {k: v for k, v in _float32({**feeds, "cotangent": cotangent}).items() if k in wanted}
    outputs = runner.run([f"grad_{name}" for name in case.wrt()], inputs)
    gradients = dict(zip(case.wrt(), outputs))
    for name, gradient in gradients.items():
        if gradient.shape != feeds[name].shape:
            raise GradientMismatch(f"grad_{name} has shape {gradient.shape}, {name} has {feeds[name].shape}")
    return gradients


def check_finite_differences(case: Case, feeds: Arrays, cotangent: np.ndarray, gradients: Arrays, seed: int) -> None:
    """Compare directional derivatives along random directions, input by input."""
    rng = np.random.default_rng(seed + 200)
    step, tolerance = (1e-6, TOLERANCE) if case.reference else (1e-2, 5e-3)
    for name in case.wrt():
        gradient = gradients[name].astype(np.float64)
        for _ in range(DIRECTIONS if gradient.size else 0):
            v = rng.standard_normal(gradient.shape)
            ahead = forward(case, {**feeds, name: feeds[name] + step * v})
            behind = forward(case, {**feeds, name: feeds[name] - step * v})
            expected = float(np.sum(cotangent * (ahead - behind)) / (2 * step))
            found = float(np.sum(gradient * v))
            scale = max(abs(expected), float(np.linalg.norm(gradient)), 1e-3)
            if not abs(found - expected) <= tolerance * scale:
                raise GradientMismatch(
                    f"{case.id}: directional derivative of {name} is {found}, finite differences say {expected}"
                )


def torch_gradients(case: Case, feeds: Arrays, cotangent: np.ndarray) -> Arrays:
    assert case.torch is not None
    tensors = {name: torch.tensor(feeds[name], dtype=torch.float64) for name, _ in case.drawn()}
    for name in case.wrt():
        tensors[name].requires_grad_(True)
    y: Any = case.torch(*tensors.values())
    if tuple(y.shape) != cotangent.shape:
        raise ValueError(f"{case.id}: torch returns shape {tuple(y.shape)}, ONNX {cotangent.shape}")
    if not np.allclose(y.detach().numpy(), forward(case, feeds), rtol=1e-4, atol=1e-4):
        raise ValueError(f"{case.id}: the torch twin computes something else")
    found = torch.autograd.grad(y, [tensors[n] for n in case.wrt()], torch.tensor(cotangent), allow_unused=True)
    return {
        name: np.zeros_like(feeds[name]) if gradient is None else gradient.numpy()
        for name, gradient in zip(case.wrt(), found)
    }


def compare(expected: Arrays, found: Arrays, tolerance: float, what: str) -> None:
    """Element by element, relative to the largest gradient."""
    for name, e in expected.items():
        scale = float(np.max(np.abs(e), initial=0.0)) or 1.0
        worst = float(np.max(np.abs(found[name] - e), initial=0.0))
        if not worst <= tolerance * scale:
            raise GradientMismatch(f"gradient of {name} differs from {what} by {worst / scale:.2e} of its maximum")


def _float32(feeds: Arrays) -> Arrays:
    return {k: np.asarray(v, dtype=np.float32 if v.dtype == np.float64 else None) for k, v in feeds.items()}


__all__ = ["Case", "GradientMismatch", "Input", "check", "compare", "session"]
