"""Sets of rules that take the place of the usual ones, by name: ReLUs of guided backpropagation and of deconvnets.

ReLUs are Relu and Clip(0, c), such as ReLU6; a Clip that is none keeps its rule.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ...errors import InputError
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from .overrides import Overrides


def guided_relu(emit: Emitter, node: Operator, dy: ir.Value) -> ir.Value:
    """dx = max(dy, 0) [y > 0]."""
    return emit.Relu(emit.gate(emit.Greater(node.outputs[0], 0.0), dy))


def guided_clip(emit: Emitter, node: Operator, dy: ir.Value) -> Any:
    """dx = max(dy, 0) [0 < y < c] for y = min(max(x, 0), c)."""
    if not _is_relu(node):
        return NotImplemented
    y, high = node.outputs[0], node.optional(2)
    active = emit.Greater(y, 0.0)
    return [emit.Relu(emit.gate(active if high is None else emit.And(active, emit.Less(y, high)), dy)), None, None]


def deconvnet_relu(emit: Emitter, node: Operator, dy: ir.Value) -> ir.Value:
    """dx = max(dy, 0)."""
    return emit.Relu(dy)


def deconvnet_clip(emit: Emitter, node: Operator, dy: ir.Value) -> Any:
    """dx = max(dy, 0) for y = min(max(x, 0), c)."""
    return [emit.Relu(dy), None, None] if _is_relu(node) else NotImplemented


def _is_relu(clip: Operator) -> bool:
    """Whether a Clip is min(max(x, 0), c) with a constant c, or without one."""
    low, high = clip.constant(1), clip.constant(2)
    return low is not None and low.item() == 0 and (clip.optional(2) is None or high is not None)


RULE_SETS: dict[str, Overrides] = {
    "guided_backprop": {"Relu": guided_relu, "Clip": guided_clip},
    "deconvnet": {"Relu": deconvnet_relu, "Clip": deconvnet_clip},
}


def rule_set(rules: Overrides | str | None) -> Overrides | None:
    """Return the rules of a name, or ``rules`` themselves.

    Raises:
        InputError: there is no set of that name.
    """
    if not isinstance(rules, str):
        return rules
    if rules not in RULE_SETS:
        raise InputError(f"rules: there is no set {rules!r}; there are {', '.join(map(repr, RULE_SETS))}.")
    return RULE_SETS[rules]
