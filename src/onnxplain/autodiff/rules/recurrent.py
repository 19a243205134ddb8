"""RNN, GRU and LSTM: written out as a Scan over time, whose gradient is a Scan back.

The input projection of all steps is one matrix product outside the Scan. Sequences shorter than the
longest keep their state and return zeros after their end; a reverse direction over such sequences
reverses each within its own length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp
from ..reverse.subgraph import Body
from ..reverse.walk import by_expansion

Activation = Callable[[Emitter, ir.Value], ir.Value]
Values = Sequence[ir.Value]


@dataclass(frozen=True)
class Cell:
    """One recurrent operator: its number of gates and of states, default activations, and one step.

    ``step(emit, node, activations, x, states, weights)`` maps the projected input [N, gates H] and the
    states [N, H] to the new states, the hidden one first. ``weights`` are R transposed [H, gates H], the
    recurrent bias [gates H] that must be added inside (GRU with linear_before_reset) or None, and the
    peepholes [3 H] or None.
    """

    gates: int
    states: int
    activations: tuple[str, ...]
    step: Callable[..., list[ir.Value]]


@vjp("RNN", "GRU", "LSTM", every_output=True)
def recurrent(emit: Emitter, node: Operator, dys: Sequence[ir.Value | None]) -> Gradients:
    """Gradients of X, W, R, B, the initial states and the peepholes, through the operator written out."""
    return by_expansion(emit, node, dys, _expand)


def _expand(emit: Emitter, node: Operator) -> list[ir.Value]:
    cell = CELLS[node.op_type]
    direction = node.attribute("direction", "forward")
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    batch_first = node.attribute("layout", 0) == 1
    x = emit.Transpose(node.input(0), perm=[1, 0, 2]) if batch_first else node.input(0)
    activations = list(_activations(node, cell, len(reverses)))
    runs = [_run(emit, node, cell, x, d, reverse, activations[d], batch_first) for d, reverse in enumerate(reverses)]
    y = _join(emit, [emit.Unsqueeze(run[-1], [1]) for run in runs], 1)
    finals = [_join(emit, [emit.Unsqueeze(run[s], [0]) for run in runs], 0) for s in range(cell.states)]
    if batch_first:
        y = emit.Transpose(y, perm=[2, 0, 1, 3])
        finals = [emit.Transpose(f, perm=[1, 0, 2]) for f in finals]
    return [y, *finals]


def _run(
    emit: Emitter,
    node: Operator,
    cell: Cell,
    x: ir.Value,
    direction: int,
    reverse: bool,
    activations: list[Activation],
    batch_first: bool,
) -> list[ir.Value]:
    """One direction: the final states [N,H], then the hidden state of every step [T,N,H]."""
    hidden = _hidden_size(node)
    given = node.optional(4)
    lengths = None if given is None else emit.Cast(given, to=ir.DataType.INT64)
    projected = emit.MatMul(x, emit.Transpose(_pick(emit, node, 1, direction), perm=[1, 0]))
    inside = None
    if node.optional(3) is not None:
        halves = emit.op("Split", _pick(emit, node, 3, direction), [cell.gates * hidden] * 2, outputs=2, axis=0)
        if node.attribute("linear_before_reset", 0):
            inside = halves[1]
            projected = emit.Add(projected, halves[0])
        else:
            projected = emit.Add(projected, emit.Add(*halves))
    if reverse and lengths is not None:
        projected = emit.ReverseSequence(projected, lengths, time_axis=0, batch_axis=1)
    steps = [projected] if lengths is None else [projected, _mask(emit, x, lengths)]
    starts = [_start(emit, node, x, 5 + s, direction, hidden, batch_first) for s in range(cell.states)]
    weights = (
        emit.Transpose(_pick(emit, node, 2, direction), perm=[1, 0]),
        inside,
        None if node.optional(7) is None else _pick(emit, node, 7, direction),
    )

    body = Body(emit, "step", node.opsets)
    inner = body.emit
    states = [body.input("state", *_typed(v.dtype, v.shape)) for v in starts]
    rows = [body.input("row", *_typed(v.dtype, None if v.shape is None else ir.Shape(v.shape[1:]))) for v in steps]
    new = cell.step(inner, node, activations, rows[0], states, weights)
    y = new[0]
    if lengths is not None:
        y = inner.Mul(y, rows[1])
        new = [inner.Add(old, inner.Mul(inner.Sub(value, old), rows[1])) for value, old in zip(new, states)]
    for value in (*new, y):
        body.output(value)
    backwards = int(reverse and lengths is None)
    outputs = emit.op(
        "Scan",
        *starts,
        *steps,
        outputs=cell.states + 1,
        body=body.graph,
        num_scan_inputs=len(steps),
        scan_input_directions=[backwards] * len(steps),
        scan_output_directions=[backwards],
    )
    for output, start in zip(outputs, starts):
        output.type, output.shape = start.type, start.shape
    length = None if x.shape is None else x.shape[0]
    outputs[-1].type = starts[0].type
    outputs[-1].shape = ir.Shape([length, *(starts[0].shape or (None, hidden))])
    if reverse and lengths is not None:
        return [*outputs[:-1], emit.ReverseSequence(outputs[-1], lengths, time_axis=0, batch_axis=1)]
    return list(outputs)


def _rnn(
    emit: Emitter, node: Operator, activations: list[Activation], x: ir.Value, states: Values, weights: Values
) -> list[ir.Value]:
    """H = f(X W + H R + b)."""
    gate = emit.Add(x, emit.MatMul(states[0], weights[0]))
    return [activations[0](emit, _clip(emit, node, gate))]


def _gru(
    emit: Emitter, node: Operator, activations: list[Activation], x: ir.Value, states: Values, weights: Values
) -> list[ir.Value]:
    """z, r = f(X W + H R + b); h = g(X Wh + (r H) Rh + b), or g(X Wh + r (H Rh + Rb) + Wb); H = (1 - z) h + z H."""
    hidden, (h,) = _hidden_size(node), states
    f, g = activations
    linear_before_reset = node.attribute("linear_before_reset", 0)
    recurrent_weights, inside, _ = weights
    x_zr, x_h = emit.op("Split", x, [2 * hidden, hidden], outputs=2, axis=-1)
    r_zr, r_h = emit.op("Split", recurrent_weights, [2 * hidden, hidden], outputs=2, axis=-1)
    zr = emit.Add(x_zr, emit.MatMul(h, r_zr))
    b_h = None
    if inside is not None:
        b_zr, b_h = emit.op("Split", inside, [2 * hidden, hidden], outputs=2, axis=-1)
        zr = emit.Add(zr, b_zr)
    z, r = emit.op("Split", f(emit, _clip(emit, node, zr)), [hidden, hidden], outputs=2, axis=-1)
    if linear_before_reset:
        recurrent_part = emit.MatMul(h, r_h)
        recurrent_part = emit.Mul(r, recurrent_part if b_h is None else emit.Add(recurrent_part, b_h))
    else:
        recurrent_part = emit.MatMul(emit.Mul(r, h), r_h)
    candidate = g(emit, _clip(emit, node, emit.Add(x_h, recurrent_part)))
    return [emit.Add(candidate, emit.Mul(z, emit.Sub(h, candidate)))]


def _lstm(
    emit: Emitter, node: Operator, activations: list[Activation], x: ir.Value, states: Values, weights: Values
) -> list[ir.Value]:
    """i, o, f = f(X W + H R + P C + b), c = g(X W + H R + b); C = f C + i c; H = o h(C). o peeps at the new C."""
    hidden, (h, c) = _hidden_size(node), states
    f, g, last = activations
    recurrent_weights, _, peepholes = weights
    gates = emit.Add(x, emit.MatMul(h, recurrent_weights))
    i, o, forget, candidate = emit.op("Split", gates, [hidden] * 4, outputs=4, axis=-1)
    p = [None] * 3 if peepholes is None else emit.op("Split", peepholes, [hidden] * 3, outputs=3, axis=0)

    def gate(value: ir.Value, peephole: ir.Value | None, cell: ir.Value) -> ir.Value:
        total = value if peephole is None else emit.Add(value, emit.Mul(peephole, cell))
        return f(emit, _clip(emit, node, total))

    admitted = gate(i, p[0], c)
    kept = emit.Sub(1.0, admitted) if node.attribute("input_forget", 0) else gate(forget, p[2], c)
    update = emit.Mul(admitted, g(emit, _clip(emit, node, candidate)))
    cell = emit.Add(emit.Mul(kept, c), update)
    return [emit.Mul(gate(o, p[1], cell), last(emit, cell)), cell]


CELLS = {
    "RNN": Cell(1, 1, ("Tanh",), _rnn),
    "GRU": Cell(3, 1, ("Sigmoid", "Tanh"), _gru),
    "LSTM": Cell(4, 2, ("Sigmoid", "Tanh", "Tanh"), _lstm),
}

#: Activations and the defaults of their alpha and beta, where they take them.
_PLAIN = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus"}
_ALPHA = {"leakyrelu": ("LeakyRelu", 0.01), "thresholdedrelu": ("ThresholdedRelu", 1.0), "elu": ("Elu", 1.0)}


def _activations(node: Operator, cell: Cell, directions: int) -> Iterator[list[Activation]]:
    """The activations of each direction; alphas and betas are used up in the order of those that take them."""
    names: list[str] = node.attribute("activations", list(cell.activations) * directions)
    alphas = iter(node.attribute("activation_alpha", list[float]()))
    betas = iter(node.attribute("activation_beta", list[float]()))
    found = [_activation(node, name, alphas, betas) for name in names]
    count = len(cell.activations)
    for d in range(directions):
        yield found[d * count : (d + 1) * count]


def _activation(node: Operator, name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    key = name.lower()
    if key in _PLAIN:
        return lambda emit, x: emit.op(_PLAIN[key], x, outputs=1)[0]
    if key in _ALPHA:
        op, default = _ALPHA[key]
        alpha = next(alphas, default)
        return lambda emit, x: emit.op(op, x, outputs=1, alpha=alpha)[0]
    if key == "hardsigmoid":
        alpha, beta = next(alphas, 0.2), next(betas, 0.5)
        return lambda emit, x: emit.HardSigmoid(x, alpha=alpha, beta=beta)
    if key in ("affine", "scaledtanh"):
        scale, other = next(alphas, None), next(betas, None)
        if scale is None or other is None:
            raise node.refuse("activation", name, "state activation_alpha and activation_beta for it")
        if key == "affine":
            return lambda emit, x: emit.Add(emit.Mul(x, scale), other)
        return lambda emit, x: emit.Mul(emit.Tanh(emit.Mul(x, other)), scale)
    raise node.refuse("activation", name, "use one of the activations that the standard lists")


def _clip(emit: Emitter, node: Operator, value: ir.Value) -> ir.Value:
    bound = node.attribute("clip", 0.0)
    return emit.Clip(value, -bound, bound) if bound else value


def _hidden_size(node: Operator) -> int:
    shape = node.input(2).shape
    hidden = node.attribute("hidden_size", 0) or (shape[-1] if shape is not None else 0)
    if not isinstance(hidden, int) or not hidden:
        raise node.refuse("hidden_size", hidden, "state it as an attribute")
    return hidden


def _pick(emit: Emitter, node: Operator, index: int, direction: int) -> ir.Value:
    return emit.Gather(node.input(index), np.array(direction), axis=0)


def _start(
    emit: Emitter, node: Operator, x: ir.Value, index: int, direction: int, hidden: int, batch_first: bool
) -> ir.Value:
    """An initial state [N,H]: the input at ``index``, or zeros."""
    if node.optional(index) is not None:
        return emit.Gather(node.input(index), np.array(direction), axis=int(batch_first))
    assert x.dtype is not None
    zero = ir.tensor(np.zeros(1, dtype=x.dtype.numpy()))
    zeros = emit.ConstantOfShape(emit.Concat(emit.dim(x, 1), [hidden], axis=0), value=zero)
    zeros.shape = ir.Shape([None if x.shape is None else x.shape[1], hidden])
    return zeros


def _mask(emit: Emitter, x: ir.Value, lengths: ir.Value) -> ir.Value:
    """[T,N,1]: one while a sequence lasts, zero after its end."""
    length = emit.Squeeze(emit.dim(x, 0), [0])
    steps = emit.Range(np.array(0), length, np.array(1))
    lasts = emit.Less(emit.Unsqueeze(steps, [1, 2]), emit.Unsqueeze(lengths, [0, 2]))
    mask = emit.Cast(lasts, to=x.dtype)
    if x.shape is not None:
        mask.shape = ir.Shape([x.shape[0], x.shape[1], 1])
    return mask


def _join(emit: Emitter, parts: list[ir.Value], axis: int) -> ir.Value:
    return parts[0] if len(parts) == 1 else emit.Concat(*parts, axis=axis)


def _typed(dtype: ir.DataType | None, shape: ir.Shape | None) -> tuple[ir.DataType, ir.Shape | None]:
    assert dtype is not None
    return dtype, shape
