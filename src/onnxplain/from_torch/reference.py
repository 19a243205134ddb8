"""Scores and gradients of a torch module, and how far an ONNX model is from them."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ..errors import ModelError
from ..runtime import Session

#: Differences up to this share of the largest value are float32 rounding in a deep network.
_ROUNDING = 1e-4
#: The share of torch's own float32 error that is allowed on top; ReLUs and max pools near their kinks jump.
_TIMES, _MOST = 10, 1e-2
#: Beyond this float32 error of torch itself nothing can be concluded.
_HOPELESS = 0.1
_STEP = 1e-6


@dataclass(frozen=True)
class Comparison:
    """The largest differences between the ONNX model in float32 and torch in float64.

    ``differences`` (of outputs, of ``score``, of ``grad_*``) are relative to the largest absolute value of each.
    ``torch_error`` is the same between torch in the module's own precision and in float64, at the example and at two
    points within rounding of it; ``allowed`` is max(1e-4, ten times that), but at most max(1e-2, twice that).
    ``reference`` is the type of torch's side: float64, or the module's own where it cannot be converted. ``classes`` is
    the extent of the class axis.
    """

    differences: dict[str, float]
    torch_error: dict[str, float]
    allowed: dict[str, float]
    reference: str
    classes: int | None


def compare(
    module: Any,
    inputs: Sequence[Any],
    batched: Sequence[bool],
    names: Sequence[str],
    outputs: Sequence[str],
    written: onnx.ModelProto,
    session: Session,
) -> Comparison:
    """Compare ``session``, which holds ``written``, with ``module`` at ``inputs``.

    ``batched`` says which inputs have an open batch; these are tiled to one more sample.

    Raises:
        ModelError: they disagree, or cannot be compared.
        ProviderError: ONNX Runtime cannot run the model.
    """
    inputs = [x[[*range(len(x)), 0]] if b else x for x, b in zip(inputs, batched)]
    task = _Task(written, names, outputs)
    try:
        double, reference = copy.deepcopy(module).double(), "float64"
        values = task.torch_values(double, inputs, "float64")
    except (RuntimeError, NotImplementedError, TypeError):  # a module that only works in its own precision
        double, reference = module, _precision(module, inputs)
        values = task.torch_values(double, inputs, reference)
    own = _precision(module, inputs)
    errors = dict.fromkeys(values, 0.0)
    for seed in (None, 0, 1):
        moved = [_moved(x, seed) for x in inputs]
        mine, exact = task.torch_values(module, moved, own), task.torch_values(double, moved, reference)
        errors = {name: max(error, _difference(mine[name], exact[name])) for name, error in errors.items()}
    found = task.onnx_values(session, inputs)
    differences = {name: _difference(found[name], value) for name, value in values.items()}
    allowed = {name: max(_ROUNDING, min(_TIMES * error, max(_MOST, 2 * error))) for name, error in errors.items()}
    for name, difference in differences.items():
        if errors[name] > _HOPELESS:
            raise ModelError(
                f"{name} cannot be verified: torch's own {own} differs from its float64 by {errors[name]:.1%} of the "
                "largest value at the example. Give typical inputs as the example."
            )
        if not difference <= allowed[name]:
            raise ModelError(
                f"the exported model disagrees with torch: {name} differs by {difference:.2g} of its largest value "
                f"({allowed[name]:.2g} allowed, torch's own error is {errors[name]:.2g}); nothing was written. Does "
                "the module detach tensors, change between calls, or choose its path by values? Try the other exporter."
            )
    return Comparison(differences, errors, allowed, reference, task.classes)


class _Task:
    """What is compared: every output of the module, the score, and the gradients that the model has."""

    def __init__(self, written: onnx.ModelProto, names: Sequence[str], outputs: Sequence[str]) -> None:
        metadata = {p.key.removeprefix("onnxplain."): p.value for p in written.metadata_props}
        self._names, self._outputs = list(names), list(outputs)
        self._target_name, self._score = metadata.get("target"), metadata.get("score", "")
        self._tensor = metadata.get("score_tensor")
        self._axis = int(metadata["class_axis"]) if "class_axis" in metadata else None
        self._gradients = {k.removeprefix("grad."): v for k, v in metadata.items() if k.startswith("grad.")}
        self._target: Any = None
        self.classes: int | None = None

    def onnx_values(self, session: Session, inputs: Sequence[Any]) -> dict[str, np.ndarray[Any, Any]]:
        feeds = {name: x.numpy() for name, x in zip(self._names, inputs)}
        fetched = list(self._outputs)
        if self._target_name is not None:
            feeds[self._target_name] = self._target.numpy()
            fetched += [self._score, *self._gradients.values()]
        return dict(zip(fetched, session.run(feeds, fetched)))

    def torch_values(self, module: Any, inputs: Sequence[Any], precision: str) -> dict[str, np.ndarray[Any, Any]]:
        torch = importlib.import_module("torch")
        dtype = getattr(torch, precision)
        inputs = [x.to(dtype, copy=True).requires_grad_(True) if x.is_floating_point() else x for x in inputs]
        with _watch(inputs) as watch:
            outputs = torch.utils._pytree.tree_leaves(module(*inputs))
        values = dict(zip(self._outputs, outputs))
        if self._target_name is not None:
            score = self._scores(torch, outputs, watch)
            variables = self._variables(inputs, watch)
            gradients = torch.autograd.grad(score.sum(), variables, allow_unused=True)
            values[self._score] = score
            for name, variable, gradient in zip(self._gradients.values(), variables, gradients):
                values[name] = torch.zeros_like(variable) if gradient is None else gradient
        return {name: value.detach().numpy() for name, value in values.items()}

    def _scores(self, torch: Any, outputs: Sequence[Any], watch: Any) -> Any:
        """Return the score of the target of every sample; the first call chooses the targets."""
        if self._tensor in self._outputs:
            scores = outputs[self._outputs.index(self._tensor)]
        else:
            fitting = [x for x in watch.logits if any(x.shape == y.shape for y in outputs)]
            if not fitting:
                raise ModelError(
                    f"the score {self._tensor!r} is no output of the module, so it cannot be compared with torch; "
                    "return the scores before the last softmax, or use score='probability'."
                )
            scores = fitting[-1]
        if self._axis is None:
            self._target = torch.zeros(len(scores), dtype=torch.int64)
            return scores
        positions = [axis for axis in range(1, scores.ndim) if axis != self._axis]
        scores = scores.sum(positions) if positions else scores
        self.classes = scores.shape[1]
        if self._target is None:  # the best class of the first sample, the second best of the next one ...
            order = scores.detach().argsort(dim=1, descending=True)
            ranks = torch.arange(len(scores)) % min(3, self.classes)
            self._target = order.gather(1, ranks[:, None])[:, 0]
        return scores.gather(1, self._target[:, None])[:, 0]

    def _variables(self, inputs: Sequence[Any], watch: Any) -> list[Any]:
        inner = iter(watch.embedded)
        found = []
        for name in self._gradients:
            value = inputs[self._names.index(name)] if name in self._names else next(inner, None)
            if value is None:
                raise ModelError(
                    f"the gradient of the inner tensor {name!r} cannot be compared with torch; name inputs in wrt."
                )
            found.append(value)
        return found


def _watch(inputs: Sequence[Any]) -> Any:
    """Return a context that keeps what goes into a softmax or sigmoid, and what embeddings make of ``inputs``."""
    torch = importlib.import_module("torch")

    class Watch(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.logits: list[Any] = []
            self.embedded: list[Any] = []

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            name = getattr(func, "__name__", "")
            if name in ("softmax", "log_softmax", "sigmoid") and args:
                self.logits.append(args[0])
            if name == "embedding" and any(any(a is x for x in inputs) for a in args):
                result = result if result.requires_grad else result.requires_grad_(True)
                self.embedded.append(result)
            return result

    return Watch()


def _precision(module: Any, inputs: Sequence[Any]) -> str:
    tensors = [*module.parameters(), *inputs]
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), "float32")
    return str(dtype).removeprefix("torch.")


def _moved(x: Any, seed: int | None) -> Any:
    """``x``, or a point within float32 rounding of it."""
    if seed is None or not x.is_floating_point():
        return x
    torch = importlib.import_module("torch")
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x.dtype)
    return x + _STEP * x.abs().max() * noise


def _difference(found: np.ndarray[Any, Any], exact: np.ndarray[Any, Any]) -> float:
    """Return the largest difference as a share of the largest exact value; infinite for other shapes and for NaN."""
    if found.shape != exact.shape:
        return float("inf")
    if not exact.size:
        return 0.0
    difference = float(np.max(np.abs(found.astype(np.float64) - exact)))
    return difference / (float(np.max(np.abs(exact))) or 1.0)
