"""From torch to ONNX by both of its exporters, and torch's own gradients to compare with."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from .base import Architecture

EXPORTERS = ("dynamo", "torchscript")
#: What torch's exporters say about themselves, and about sizes that a traced network computes with.
_EXPORTER_WARNINGS = [
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export"),
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
    (torch.jit.TracerWarning, "Converting a tensor to a Python boolean"),
]


def export(architecture: Architecture, model: nn.Module, exporter: str, opset: int = 0) -> onnx.ModelProto:
    """The model with input ``x`` and output ``y``, at ``opset``; by default 18 by ``dynamo``, 17 by ``torchscript``."""
    final = model if architecture.final is None else nn.Sequential(model, architecture.final)
    with warnings.catch_warnings():
        for category, message in _EXPORTER_WARNINGS:
            warnings.filterwarnings("ignore", message, category)
        if exporter == "dynamo":
            return _dynamo(architecture, final.eval(), opset or 18)
        return _torchscript(architecture, final.eval(), opset or 17)


def _dynamo(architecture: Architecture, model: nn.Module, opset: int) -> onnx.ModelProto:
    program = torch.onnx.export(
        model,
        (architecture.inputs(2, seed=0),),
        dynamo=True,
        opset_version=opset,
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes=(dict(architecture.dynamic),),
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _torchscript(architecture: Architecture, model: nn.Module, opset: int) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        model,
        (architecture.inputs(2, seed=0),),
        file,
        dynamo=False,
        opset_version=opset,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": dict(architecture.dynamic), "y": dict(architecture.dynamic[:1])},
    )
    return onnx.load_model_from_string(file.getvalue())


@dataclass(frozen=True)
class Reference:
    """What torch finds for one batch: score [N] and gradient in float64, gradient in float32.

    ``largest`` is the largest absolute score of all classes.
    """

    x: np.ndarray
    target: np.ndarray
    score: np.ndarray
    largest: float
    gradient: np.ndarray
    gradient32: np.ndarray


def reference(architecture: Architecture, model: nn.Module, batch: int) -> Reference:
    """Gradients by torch.autograd at the first batch of noise that is away from every kink.

    Where a ReLU or a max pool is within float32 rounding of its kink, which side a float32 program takes
    depends on the order of its sums, that is, on the processor. ``model`` is in float32 before and after.
    """
    for attempt in range(50):
        x = architecture.inputs(batch, seed=batch + 100 * attempt, other=batch > 1)
        with torch.no_grad():
            scores = _per_class(architecture, model(x))
        target = scores.argsort(dim=1, descending=True).diagonal()  # predicted class, runner-up, third
        _, gradient32 = _differentiate(architecture, model, x, target)
        model.double()
        score, gradient = _differentiate(architecture, model, x, target)
        steady = architecture.vocabulary or _is_steady(architecture, model, x, target, gradient)
        model.float()
        if steady:
            return Reference(x.numpy(), target.numpy(), score, float(scores.abs().max()), gradient, gradient32)
    raise AssertionError(f"{architecture.name}: no batch away from every kink")


def _is_steady(architecture: Architecture, model: nn.Module, x: Tensor, target: Tensor, gradient: np.ndarray) -> bool:
    """Whether the float64 gradient does not jump when every pixel moves by a few units of float32 rounding."""
    scale = np.abs(gradient).max(axis=tuple(range(1, gradient.ndim)), keepdims=True)
    for seed in range(4):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        _, moved = _differentiate(architecture, model, x + 3e-6 * noise, target)
        if np.max(np.abs(moved - gradient) / scale) > 1e-3:
            return False
    return True


def _differentiate(
    architecture: Architecture, model: nn.Module, x: Tensor, target: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    embedded: list[Tensor] = []
    if architecture.vocabulary:
        embedding = model.get_submodule("embedding")
        handle = embedding.register_forward_hook(lambda module, args, output: embedded.append(output))
        scores = model(x)
        handle.remove()
        variable = embedded[0]
    else:
        variable = x.to(next(model.parameters()).dtype, copy=True).requires_grad_(True)
        scores = model(variable)
    score = _per_class(architecture, scores).gather(1, target[:, None]).squeeze(1)
    (gradient,) = torch.autograd.grad(score.sum(), variable)
    return score.detach().numpy(), gradient.numpy()


def _per_class(architecture: Architecture, scores: Tensor) -> Tensor:
    """Scores [N, classes]: positions other than the class are summed."""
    positions = [axis for axis in range(1, scores.ndim) if axis != architecture.class_axis]
    return scores.sum(positions) if positions else scores
