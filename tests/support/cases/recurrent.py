"""Cases of RNN, GRU and LSTM; the torch twins are loops over time written from the standard's equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .base import Case, uniform

T, I, H = 4, 3, 2  # noqa: E741
LENGTHS = np.array([2], dtype=np.int32)
WHY = "the reference evaluator ignores this attribute or input"

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
    "Relu": torch.relu,
    "Softsign": torch.nn.functional.softsign,
    "Softplus": torch.nn.functional.softplus,
    "LeakyRelu": lambda x: torch.nn.functional.leaky_relu(x, 0.3),
    "Elu": lambda x: torch.nn.functional.elu(x, 0.7),
    "HardSigmoid": lambda x: torch.clamp(0.4 * x + 0.6, 0, 1),
    "Affine": lambda x: 0.5 * x + 0.25,
    "ScaledTanh": lambda x: 1.5 * torch.tanh(0.5 * x),
}


def step(op: str, x: Any, h: Any, c: Any, w: Any, r: Any, b: Any, p: Any, acts: list[Any], o: dict[str, Any]) -> Any:
    """One step of one direction: (new h, new c)."""
    clip = o.get("clip")

    def act(f: Any, value: Any) -> Any:
        return f(value if clip is None else torch.clamp(value, -clip, clip))

    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    wx = [x @ k.T for k in w.chunk(gates)]
    rh = [h @ k.T for k in r.chunk(gates)]
    wb, rb = (list(k.chunk(gates)) for k in b.chunk(2))
    if op == "RNN":
        return act(acts[0], wx[0] + rh[0] + wb[0] + rb[0]), c
    if op == "GRU":
        z = act(acts[0], wx[0] + rh[0] + wb[0] + rb[0])
        reset = act(acts[0], wx[1] + rh[1] + wb[1] + rb[1])
        if o.get("linear_before_reset"):
            n = act(acts[1], wx[2] + wb[2] + reset * (rh[2] + rb[2]))
        else:
            n = act(acts[1], wx[2] + wb[2] + (reset * h) @ r.chunk(3)[2].T + rb[2])
        return (1 - z) * n + z * h, c
    pi, po, pf = p.chunk(3)
    i = act(acts[0], wx[0] + rh[0] + wb[0] + rb[0] + pi * c)
    f = 1 - i if o.get("input_forget") else act(acts[0], wx[2] + rh[2] + wb[2] + rb[2] + pf * c)
    c = f * c + i * act(acts[1], wx[3] + rh[3] + wb[3] + rb[3])
    out = act(acts[0], wx[1] + rh[1] + wb[1] + rb[1] + po * c)
    return out * acts[2](c), c


def twin(op: str, attributes: dict[str, Any], output: int, lengths: np.ndarray | None, given: list[bool]) -> Any:
    """The operator in torch; ``given`` says which of X, W, R, B, initial_h, initial_c, P are drawn."""
    defaults = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[op]
    reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
        attributes.get("direction", "forward")
    ]
    names = attributes.get("activations", defaults * len(reverses))
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        drawn = iter(tensors)
        x, w, r, b, h0, c0, p = (next(drawn) if g else None for g in given)
        assert x is not None and w is not None and r is not None
        steps, n = x.shape[:2]
        ends = [steps] * n if lengths is None else [int(lengths[0])] * n
        zeros = torch.zeros(n, H, dtype=x.dtype)
        ys, hs, cs = [], [], []
        for d, reverse in enumerate(reverses):
            bias = torch.zeros(2 * gates * H, dtype=x.dtype) if b is None else b[d]
            peep = torch.zeros(3 * H, dtype=x.dtype) if p is None else p[d]
            acts = [ACTIVATIONS[a] for a in names[d * len(defaults) : (d + 1) * len(defaults)]]
            h = zeros if h0 is None else h0[d]
            c = zeros if c0 is None else c0[d]
            rows = dict.fromkeys(range(steps), zeros)
            order = list(range(ends[0]))
            for t in reversed(order) if reverse else order:
                h, c = step(op, x[t], h, c, w[d], r[d], bias, peep, acts, attributes)
                rows[t] = h
            ys.append(torch.stack([rows[t] for t in range(steps)]))
            hs.append(h)
            cs.append(c)
        return [torch.stack(ys, 1), torch.stack(hs), torch.stack(cs)][output]

    return run


def case(
    op: str,
    name: str,
    output: int = 0,
    bias: bool = False,
    lengths: bool = False,
    state: bool = False,
    peepholes: bool = False,
    reference: bool = True,
    tie_free: bool = True,
    **attributes: Any,
) -> Case:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    d = 2 if attributes.get("direction") == "bidirectional" else 1
    batch: int | str = 1 if lengths else "N"

    def draw(*shape: int | str) -> Any:
        return uniform(*shape, low=-0.9, high=0.9)

    inputs = [
        draw(T, batch, I),
        draw(d, gates * H, I),
        draw(d, gates * H, H),
        draw(d, 2 * gates * H) if bias else None,
        LENGTHS if lengths else None,
        draw(d, batch, H) if state else None,
        draw(d, batch, H) if state and op == "LSTM" else None,
        draw(d, 3 * H) if peepholes else None,
    ]
    given = [v is not None for i, v in enumerate(inputs) if i != 4]
    while inputs[-1] is None:
        inputs.pop()
    return Case(
        op,
        tuple(inputs),
        {"hidden_size": H, **attributes},
        name,
        torch=twin(op, attributes, output, LENGTHS if lengths else None, given),
        outputs=3 if op == "LSTM" else 2,
        output=output,
        reference=reference,
        tie_free=tie_free,
        note="" if reference else WHY,
    )


CASES = [
    built
    for op, n in (("RNN", 1), ("GRU", 2), ("LSTM", 3))
    for built in (
        case(op, "plain"),
        case(op, "bias", bias=True),
        case(op, "final-state", output=1, bias=True, state=True),
        case(op, "reverse", direction="reverse", bias=True, state=True, reference=False),
        case(op, "bidirectional", direction="bidirectional", bias=True, state=True, reference=False),
        case(op, "lengths", lengths=True, bias=True, state=True, reference=False),
        case(op, "lengths-final", output=1, lengths=True, bias=True, state=True, reference=False),
        case(op, "lengths-reverse", lengths=True, bias=True, direction="bidirectional", reference=False),
        case(op, "clip", bias=True, clip=0.4, reference=False, tie_free=False),
        *(
            case(op, f"activation-{a}", bias=True, activations=[a] * n, reference=False, tie_free=False, **extra)
            for a, extra in {
                "Relu": {},
                "Softsign": {},
                "Softplus": {},
                "LeakyRelu": {"activation_alpha": [0.3] * n},
                "Elu": {"activation_alpha": [0.7] * n},
                "HardSigmoid": {"activation_alpha": [0.4] * n, "activation_beta": [0.6] * n},
                "Affine": {"activation_alpha": [0.5] * n, "activation_beta": [0.25] * n},
                "ScaledTanh": {"activation_alpha": [1.5] * n, "activation_beta": [0.5] * n},
            }.items()
        ),
    )
] + [
    case("GRU", "linear-before-reset", bias=True, linear_before_reset=1),
    case("GRU", "linear-before-reset-no-bias", linear_before_reset=1),
    case("LSTM", "cell-state", output=2, bias=True, state=True, reference=False),
    case("LSTM", "peepholes", bias=True, state=True, peepholes=True, reference=False),
    case("LSTM", "input-forget", bias=True, input_forget=1, reference=False),
]
