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


@dataclass(frozen=True)
class Weights:
    """What every step of one direction reads besides its input and states.

    ``recurrent`` is R transposed [H, gates H]; ``bias`` [gates H] the recurrent bias where it is added inside the
    step (GRU with linear_before_reset); ``peepholes`` are [3 H].
    """

    recurrent: ir.Value
    bias: ir.Value | None
    peepholes: ir.Value | None


Step = Callable[[Emitter, Operator, Sequence[Activation], ir.Value, Sequence[ir.Value], Weights], list[ir.Value]]


@dataclass(frozen=True)
class Cell:
    """One recurrent operator: its number of gates and of states, default activations, and one step.

    ``step(emit, node, activations, x, states, weights)`` maps the projected input [N, gates H] and the
    states [N, H] to the new states, the hidden one first.
    """

    gates: int
    states: int
    activations: tuple[str, ...]
    step: Step


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
    ends = _Ends.of(emit, node, x)
    x = x if ends is None else ends.without_padding(emit, x)
    runs = [
        _Direction(emit, node, cell, x, ends, index, reverse, activations[index]).run()
        for index, reverse in enumerate(reverses)
    ]
    y = _join(emit, [emit.Unsqueeze(run[-1], [1]) for run in runs], 1)
    finals = [_join(emit, [emit.Unsqueeze(run[s], [0]) for run in runs], 0) for s in range(cell.states)]
    if batch_first:
        y = emit.Transpose(y, perm=[2, 0, 1, 3])
        finals = [emit.Transpose(f, perm=[1, 0, 2]) for f in finals]
    return [y, *finals]


@dataclass(frozen=True)
class _Ends:
    """Where sequences end: how long each is, int64 [N], and whether it lasts at a step, bool [T,N,1]."""

    lengths: ir.Value
    lasts: ir.Value

    @classmethod
    def of(cls, emit: Emitter, node: Operator, x: ir.Value) -> _Ends | None:
        """Those that the node states; None if all sequences last to the end."""
        given = node.optional(4)
        if given is None:
            return None
        lengths = emit.Cast(given, to=ir.DataType.INT64)
        steps = emit.Range(np.array(0), emit.Squeeze(emit.dim(x, 0), [0]), np.array(1))
        lasts = emit.Less(emit.Unsqueeze(steps, [1, 2]), emit.Unsqueeze(lengths, [0, 2]))
        if x.shape is not None:
            lasts.shape = ir.Shape([x.shape[0], x.shape[1], 1])
        return cls(lengths, lasts)

    def without_padding(self, emit: Emitter, x: ir.Value) -> ir.Value:
        """Return x with zeros behind the ends: what the operator does not read may be no number, and 0 NaN is NaN."""
        read = emit.Where(self.lasts, x, emit.constant(0.0, x.dtype))
        read.shape = x.shape
        return read


@dataclass(frozen=True)
class _Direction:
    """One direction of a recurrent node over x [T,N,I]: what its steps read, one step, and all of them."""

    emit: Emitter
    node: Operator
    cell: Cell
    x: ir.Value
    ends: _Ends | None
    index: int
    reverse: bool
    activations: Sequence[Activation]

    def run(self) -> list[ir.Value]:
        """Return the final states [N,H], then the hidden state of every step [T,N,H]."""
        weights, projected = self._weights_and_projection()
        rows = [self._turned(projected)]
        if self.ends is not None:
            rows.append(self.emit.Cast(self.ends.lasts, to=self.x.dtype))
        starts = [self._start(5 + state) for state in range(self.cell.states)]
        *finals, y = self._scan(starts, rows, self._step(starts, rows, weights))
        return [*finals, self._turned(y)]

    def _weights_and_projection(self) -> tuple[Weights, ir.Value]:
        """Return the weights of a step, and X W + b [T,N,gates H], with that part of b which every step adds."""
        emit, gates = self.emit, self.cell.gates * _hidden_size(self.node)
        projected = emit.MatMul(self.x, emit.Transpose(self._own(1), perm=[1, 0]))
        inside = None
        if self.node.optional(3) is not None:
            of_input, of_state = emit.op("Split", self._own(3), [gates, gates], outputs=2, axis=0)
            if self.node.attribute("linear_before_reset", 0):
                inside = of_state
                projected = emit.Add(projected, of_input)
            else:
                projected = emit.Add(projected, emit.Add(of_input, of_state))
        peepholes = None if self.node.optional(7) is None else self._own(7)
        return Weights(emit.Transpose(self._own(2), perm=[1, 0]), inside, peepholes), projected

    def _own(self, input_index: int) -> ir.Value:
        """Return this direction's part of a weight."""
        return self.emit.Gather(self.node.input(input_index), np.array(self.index), axis=0)

    def _turned(self, rows: ir.Value) -> ir.Value:
        """Return each sequence reversed within its own length, if that is stated and this direction is the reverse."""
        if self.ends is None or not self.reverse:
            return rows
        return self.emit.ReverseSequence(rows, self.ends.lengths, time_axis=0, batch_axis=1)

    def _start(self, input_index: int) -> ir.Value:
        """Return an initial state [N,H]: this direction's part of an input, or zeros."""
        emit, x = self.emit, self.x
        if self.node.optional(input_index) is not None:
            batch_first = self.node.attribute("layout", 0)
            return emit.Gather(self.node.input(input_index), np.array(self.index), axis=batch_first)
        hidden = _hidden_size(self.node)
        assert x.dtype is not None
        zero = ir.tensor(np.zeros(1, dtype=x.dtype.numpy()))
        zeros = emit.ConstantOfShape(emit.Concat(emit.dim(x, 1), [hidden], axis=0), value=zero)
        zeros.shape = ir.Shape([None if x.shape is None else x.shape[1], hidden])
        return zeros

    def _step(self, starts: Sequence[ir.Value], rows: Sequence[ir.Value], weights: Weights) -> ir.Graph:
        """Return the body of the Scan: states and one row of each in, states and the hidden state out.

        With a mask m in the rows a state s becomes s + m (new - s), and what is returned m times the hidden state.
        """
        body = Body(self.emit, "step", self.node.opsets)
        inner = body.emit
        states = [body.input_like("state", start) for start in starts]
        row, *mask = [body.input_like("row", value, 0) for value in rows]
        new = self.cell.step(inner, self.node, self.activations, row, states, weights)
        y = new[0]
        for m in mask:
            y = inner.Mul(y, m)
            new = [inner.Add(old, inner.Mul(inner.Sub(value, old), m)) for value, old in zip(new, states)]
        for value in (*new, y):
            body.output(value)
        return body.graph

    def _scan(self, starts: Sequence[ir.Value], rows: Sequence[ir.Value], body: ir.Graph) -> list[ir.Value]:
        """Return the final states and the stacked hidden ones; sequences of one length are scanned from their end."""
        backwards = int(self.reverse and len(rows) == 1)
        outputs = self.emit.op(
            "Scan",
            *starts,
            *rows,
            outputs=len(starts) + 1,
            body=body,
            num_scan_inputs=len(rows),
            scan_input_directions=[backwards] * len(rows),
            scan_output_directions=[backwards],
        )
        for output, start in zip(outputs, starts):
            output.type, output.shape = start.type, start.shape
        length = None if self.x.shape is None else self.x.shape[0]
        outputs[-1].type = starts[0].type
        outputs[-1].shape = ir.Shape([length, *(starts[0].shape or (None, _hidden_size(self.node)))])
        return list(outputs)


def _rnn(
    emit: Emitter,
    node: Operator,
    activations: Sequence[Activation],
    x: ir.Value,
    states: Sequence[ir.Value],
    weights: Weights,
) -> list[ir.Value]:
    """H = f(X W + H R + b)."""
    gate = emit.Add(x, emit.MatMul(states[0], weights.recurrent))
    return [activations[0](emit, _clip(emit, node, gate))]


def _gru(
    emit: Emitter,
    node: Operator,
    activations: Sequence[Activation],
    x: ir.Value,
    states: Sequence[ir.Value],
    weights: Weights,
) -> list[ir.Value]:
    """z, r = f(X W + H R + b); h = g(X Wh + (r H) Rh + b), or g(X Wh + r (H Rh + Rb) + Wb); H = (1 - z) h + z H."""
    hidden, (h,) = _hidden_size(node), states
    f, g = activations
    linear_before_reset = node.attribute("linear_before_reset", 0)
    x_zr, x_h = emit.op("Split", x, [2 * hidden, hidden], outputs=2, axis=-1)
    r_zr, r_h = emit.op("Split", weights.recurrent, [2 * hidden, hidden], outputs=2, axis=-1)
    zr = emit.Add(x_zr, emit.MatMul(h, r_zr))
    b_h = None
    if weights.bias is not None:
        b_zr, b_h = emit.op("Split", weights.bias, [2 * hidden, hidden], outputs=2, axis=-1)
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
    emit: Emitter,
    node: Operator,
    activations: Sequence[Activation],
    x: ir.Value,
    states: Sequence[ir.Value],
    weights: Weights,
) -> list[ir.Value]:
    """i, o, f = f(X W + H R + P C + b), c = g(X W + H R + b); C = f C + i c; H = o h(C). o peeps at the new C."""
    hidden, (h, c) = _hidden_size(node), states
    f, g, last = activations
    gates = emit.Add(x, emit.MatMul(h, weights.recurrent))
    i, o, forget, candidate = emit.op("Split", gates, [hidden] * 4, outputs=4, axis=-1)
    peepholes = weights.peepholes
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


def _join(emit: Emitter, parts: list[ir.Value], axis: int) -> ir.Value:
    return parts[0] if len(parts) == 1 else emit.Concat(*parts, axis=axis)
