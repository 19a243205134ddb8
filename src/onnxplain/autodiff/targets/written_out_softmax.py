"""Softmaxes that an exporter wrote out in simpler operators, as those of JAX, scikit-learn and old frameworks are.

With L = ln Σ e^a over one axis, and m the maximum over it or nothing,

    softmax(a)     = e^(a - m) / Σ e^(a - m) = e^(a - L)
    log softmax(a) = (a - m) - ln Σ e^(a - m) = a - L

Sums and maxima may be reshaped, or spread to the extents of ``a``, on their way.
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.inference import made_by, small_constant

#: What brings a statistic of each row beside the rows again.
_SPREADS = {"Identity", "Cast", "Expand"}
_MOVES = _SPREADS | {"Reshape", "Squeeze", "Unsqueeze"}


def written_out_softmax(value: ir.Value) -> tuple[ir.Value, int, bool] | None:
    """What ``value`` is the softmax of, over which axis, and whether it is the logarithm of one; None if it is none."""
    found = _exponential(value) or _quotient(value)
    if found is not None:
        return (*found, False)
    found = _logarithm(value)
    return None if found is None else (*found, True)


def sums_to_one(value: ir.Value) -> bool:
    """Whether classes add up to one, so that no softmax follows: divided by their sum, or 1 - p beside p."""
    node = value.producer()
    while node is not None and node.op_type in ("Identity", "Cast") and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    if node is None:
        return False
    if node.op_type == "LpNormalization":
        return node.attributes.get_int("p", 2) == 1
    if node.op_type == "Normalizer":
        return node.attributes.get_string("norm", "MAX") == "L1"
    if node.op_type == "Concat" and len(node.inputs) == 2:
        return any(_is_rest(a, b) for a, b in (node.inputs, reversed(node.inputs)))
    parts = _divided(value)
    return parts is not None and _axis_of(parts[1], "ReduceSum", parts[0]) is not None


def _is_rest(rest: ir.Value | None, p: ir.Value | None) -> bool:
    """Whether ``rest`` is 1 - p."""
    node = made_by(rest, "Sub")
    one = None if node is None else small_constant(node.inputs[0])
    return node is not None and node.inputs[1] is p and one is not None and bool((one == 1).all())


def _exponential(value: ir.Value) -> tuple[ir.Value, int] | None:
    """e^(log softmax)."""
    node = made_by(value, "Exp")
    if node is None or node.inputs[0] is None:
        return None
    log = made_by(node.inputs[0], "LogSoftmax")
    if log is not None and log.inputs[0] is not None and log.inputs[0].shape is not None:
        return log.inputs[0], log.attributes.get_int("axis", -1) % len(log.inputs[0].shape)
    return _logarithm(node.inputs[0])


def _quotient(value: ir.Value) -> tuple[ir.Value, int] | None:
    """e^d / Σ e^d."""
    powers, total = _divided(value) or (None, None)
    node = made_by(powers, "Exp")
    axis = None if powers is None or node is None else _axis_of(total, "ReduceSum", powers)
    return None if axis is None or node is None or node.inputs[0] is None else (_unshifted(node.inputs[0], axis), axis)


def _logarithm(value: ir.Value) -> tuple[ir.Value, int] | None:
    """d - ln Σ e^d."""
    node = made_by(value, "Sub")
    if node is None or node.inputs[0] is None:
        return None
    scores = node.inputs[0]
    axis = _axis_of(node.inputs[1], "ReduceLogSumExp", scores)
    if axis is None:
        log = made_by(_unmoved(node.inputs[1]), "Log")
        total = None if log is None else made_by(_unmoved(log.inputs[0]), "ReduceSum")
        powers = None if total is None else made_by(total.inputs[0], "Exp")
        if total is None or powers is None or powers.inputs[0] is not scores:
            return None
        axis = _reduced(total, powers.outputs[0])
        if axis is None or not _lies_beside(node.inputs[1], scores, axis):
            return None
    return _unshifted(scores, axis), axis


def _unshifted(value: ir.Value, axis: int) -> ir.Value:
    """``a`` of a - max a; any other value is returned."""
    node = made_by(value, "Sub")
    if node is None or node.inputs[0] is None or _axis_of(node.inputs[1], "ReduceMax", node.inputs[0]) != axis:
        return value
    return node.inputs[0]


def _divided(value: ir.Value) -> tuple[ir.Value, ir.Value] | None:
    """The two parts of a quotient, which may be a product with a reciprocal."""
    node = made_by(value, "Div")
    if node is not None:
        a, b = node.inputs
        return None if a is None or b is None else (a, b)
    node = made_by(value, "Mul")
    for a, b in () if node is None else (tuple(node.inputs), tuple(reversed(node.inputs))):
        reciprocal = made_by(b, "Reciprocal")
        if a is not None and reciprocal is not None and reciprocal.inputs[0] is not None:
            return a, reciprocal.inputs[0]
    return None


def _axis_of(value: ir.Value | None, op_type: str, of: ir.Value) -> int | None:
    """The axis over which ``value`` is a statistic of every row of ``of``; None if it is none."""
    node = made_by(_unmoved(value), op_type)
    axis = None if node is None else _reduced(node, of)
    return axis if axis is not None and _lies_beside(value, of, axis) else None


def _reduced(node: ir.Node, of: ir.Value) -> int | None:
    """The one axis that is reduced, but for that of the batch."""
    axes = small_constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.inputs[0] is not of or of.shape is None or axes is None or axes.size != 1:
        return None
    return int(axes.item()) % len(of.shape) or None


def _lies_beside(value: ir.Value | None, of: ir.Value, axis: int) -> bool:
    """Whether statistics of rows lie beside their rows: extent 1 along ``axis``, before they are spread along it."""
    while value is not None and (node := value.producer()) is not None and node.op_type in _SPREADS:
        value = node.inputs[0]
    if value is None or value.shape is None or of.shape is None or len(value.shape) != len(of.shape):
        return False
    return value.shape[axis] == 1


def _unmoved(value: ir.Value | None) -> ir.Value | None:
    while value is not None and (node := value.producer()) is not None and node.op_type in _MOVES:
        value = node.inputs[0]
    return value
