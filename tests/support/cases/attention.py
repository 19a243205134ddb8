"""Cases of Attention and RotaryEmbedding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .base import Case, Input, normal

HIDDEN = -np.inf
MASK = np.array([[True, False, True, True, False], [True, True, True, True, True], [False, True, False, True, False]])
DEAD = np.array([[True, False, True, True, False], [False] * 5, [False, True, False, True, False]])
Q4, K4, V4 = normal("N", 2, 3, 4), normal("N", 2, 5, 4), normal("N", 2, 5, 6)
WIDE = (normal("N", 4, 3, 4), normal("N", 2, 5, 4), normal("N", 2, 5, 6))


def heads(x: torch.Tensor, count: int) -> torch.Tensor:
    return x if x.ndim == 4 else x.unflatten(-1, (count, -1)).transpose(1, 2)


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor | None = None,
    scale: float | None = None,
    cap: float = 0.0,
    output: int = 0,
    mode: int = 0,
) -> torch.Tensor:
    """Output ``output`` of the operator for 4-d inputs; rows hidden from every key are zero."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    stages = [q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)]
    stages.append(cap * torch.tanh(stages[-1] / cap) if cap else stages[-1])
    stages.append(stages[-1] if bias is None else stages[-1] + bias)
    alive = torch.tensor(True) if bias is None else bias.amax(-1, keepdim=True) > HIDDEN
    stages.append(torch.softmax(torch.where(alive, stages[-1], 0.0), -1) * alive)
    if output == 3:
        return stages[mode]
    return stages[3] @ v


def case(
    name: str,
    *inputs: Input | np.ndarray | None,
    twin: Any,
    opset: int = 23,
    options: dict[str, Any] | None = None,
    **case: Any,
) -> Case:
    return Case("Attention", inputs, options or {}, name=name, torch=twin, opset=opset, **case)


def masked(mask: np.ndarray, **kwargs: Any) -> Any:
    bias = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(torch.tensor(~mask), HIDDEN)
    return lambda q, k, v: attend(q, k, v, bias, **kwargs)


def causal(offset: int = 0, left: int = -1, right: int = -1, queries: int = 3, keys: int = 5) -> np.ndarray:
    i, j = np.arange(queries)[:, None] + offset, np.arange(keys)
    return (j <= i + max(right, 0)) & (j >= i - left if left >= 0 else True)


def merged(count: int, key_count: int, **kwargs: Any) -> Any:
    """The operator on 3-d inputs."""

    def apply(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        y = attend(heads(q, count), heads(k, key_count), heads(v, key_count), **kwargs)
        return y.transpose(1, 2).flatten(2)

    return apply


def modes(opset: int) -> list[Case]:
    return [
        case(
            f"output-of-mode-{mode}-version-{opset}",
            Q4,
            K4,
            V4,
            normal(3, 5),
            opset=opset,
            options={"qk_matmul_output_mode": mode, "softcap": 1.5},
            outputs=4,
            output=3,
            reference=mode > 0,
            note="" if mode else "onnx's reference evaluator applies the cap to the raw product too",
            twin=lambda q, k, v, m, mode=mode: attend(q, k, v, m, cap=1.5, output=3, mode=mode),
        )
        for mode in range(4)
    ]


PAST = (
    normal("N", 2, 2, 4),
    normal("N", 2, 3, 4),
    normal("N", 2, 3, 6),
    None,
    normal("N", 2, 2, 4),
    normal("N", 2, 2, 6),
)


def with_past(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pk: torch.Tensor, pv: torch.Tensor) -> torch.Tensor:
    bias = torch.where(torch.tensor(causal(2, queries=2)), 0.0, HIDDEN)
    return attend(q, torch.cat([pk, k], 2), torch.cat([pv, v], 2), bias)


def padded_keys(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention over 5, 1 and 4 valid keys: the first queries of the second sample see none."""
    valid = np.array([5, 1, 4])[:, None, None, None]
    allowed = np.stack([causal(int(n) - 3) for n in valid.ravel()])[:, None] & (np.arange(5) < valid)
    return attend(q, k, v, torch.where(torch.tensor(allowed), 0.0, HIDDEN))


CASES = [
    case("plain", Q4, K4, V4, twin=F.scaled_dot_product_attention),
    case(
        "one-input-wanted",
        normal("N", 2, 3, 4),
        normal("N", 2, 5, 4, wrt=False),
        normal("N", 2, 5, 6, wrt=False),
        twin=attend,
    ),
    case(
        "values-only-wanted",
        normal("N", 2, 3, 4, wrt=False),
        normal("N", 2, 5, 4, wrt=False),
        normal("N", 2, 5, 6),
        twin=attend,
    ),
    case(
        "symbolic", normal("N", "H2", "T3", 4), normal("N", "H2", "S5", 4), normal("N", "H2", "S5", "V6"), twin=attend
    ),
    case(
        "symbolic-size", normal("N", 2, "T3", "D4"), normal("N", 2, "T3", "D4"), normal("N", 2, "T3", "D4"), twin=attend
    ),
    case("scale", Q4, K4, V4, options={"scale": 0.3}, twin=lambda q, k, v: attend(q, k, v, scale=0.3)),
    case("softcap", Q4, K4, V4, options={"softcap": 0.7}, twin=lambda q, k, v: attend(q, k, v, cap=0.7)),
    case("causal", Q4, K4, V4, options={"is_causal": 1}, twin=masked(causal())),
    case("grouped", *WIDE, twin=attend),
    case("one-key-head", normal("N", 3, 2, 4), normal("N", 1, "S5", 4), normal("N", 1, "S5", 4), twin=attend),
    case(
        "grouped-symbolic",
        normal("N", 4, "T3", 4),
        normal("N", 2, "S5", 4),
        normal("N", 2, "S5", 6),
        options={"is_causal": 1},
        twin=masked(causal()),
    ),
    case(
        "merged",
        normal("N", 3, 8),
        normal("N", 5, 8),
        normal("N", 5, 6),
        options={"q_num_heads": 2, "kv_num_heads": 2},
        twin=merged(2, 2),
    ),
    case(
        "merged-grouped-symbolic",
        normal("N", "T3", 16),
        normal("N", "S5", 8),
        normal("N", "S5", 6),
        options={"q_num_heads": 4, "kv_num_heads": 2, "scale": 0.4, "softcap": 2.0},
        twin=merged(4, 2, scale=0.4, cap=2.0),
    ),
    case("softmax-precision", Q4, K4, V4, options={"softmax_precision": 11}, twin=attend),
    case("bool-mask", Q4, K4, V4, MASK, twin=masked(MASK)),
    case("bool-mask-run-time", Q4, K4, V4, MASK, runtime=(3,), twin=masked(MASK)),
    case("bool-mask-dead-row", Q4, K4, V4, DEAD, twin=masked(DEAD)),
    case("bool-mask-causal", Q4, K4, V4, MASK, options={"is_causal": 1}, twin=masked(MASK & causal())),
    case("float-mask", Q4, K4, V4, normal(3, 5), twin=attend),
    case("float-mask-heads", Q4, K4, V4, normal(2, 3, 5), twin=attend),
    case("float-mask-batch", *WIDE, normal("N", 1, 3, 5), twin=attend),
    case(
        "float-mask-constant",
        Q4,
        K4,
        V4,
        np.where(DEAD, 0.5, HIDDEN),
        twin=lambda *x: attend(*x, torch.where(torch.tensor(DEAD), 0.5, HIDDEN)),
    ),
    case("float-mask-row", Q4, K4, V4, normal("N", 1, 1, 5), opset=25, twin=attend),
    case("float-mask-vector", Q4, K4, V4, normal(5), opset=25, twin=attend),
    case(
        "float-mask-short",
        Q4,
        K4,
        V4,
        normal(3, 4),
        opset=25,
        twin=lambda q, k, v, m: attend(q, k, v, F.pad(m, (0, 1), value=HIDDEN)),
    ),
    case("bool-mask-short", Q4, K4, V4, MASK[:, :4], opset=25, twin=masked(MASK & (np.arange(5) < 4))),
    case("past", *PAST, options={"is_causal": 1}, outputs=3, exposed=True, twin=with_past),
    case("present-key", *PAST, outputs=3, exposed=True, output=1, twin=lambda q, k, v, pk, pv: torch.cat([pk, k], 2)),
    case("present-value", *PAST, outputs=3, exposed=True, output=2, twin=lambda q, k, v, pk, pv: torch.cat([pv, v], 2)),
    case("present-key-alone", Q4, K4, V4, outputs=3, exposed=True, output=1, twin=lambda q, k, v: k.clone()),
    case(
        "valid-keys-causal",
        normal(3, 2, 3, 4),
        normal(3, 2, 5, 4),
        normal(3, 2, 5, 6),
        None,
        None,
        None,
        np.array([5, 1, 4]),
        opset=24,
        options={"is_causal": 1},
        runtime=(6,),
        twin=padded_keys,
    ),
    case(
        "window",
        Q4,
        K4,
        V4,
        opset=25,
        options={"left_window_size": 1, "right_window_size": 1},
        twin=masked(causal(left=1, right=1)),
    ),
    case(
        "window-causal",
        Q4,
        K4,
        V4,
        opset=25,
        options={"left_window_size": 1, "is_causal": 1},
        twin=masked(causal(left=1)),
    ),
    *modes(23),
    *modes(25),
]


def rotated(interleaved: bool, size: int, cos: np.ndarray, sin: np.ndarray) -> Any:
    """Rotation of the first ``size`` elements of [N, heads, T, head size]."""
    c, s = torch.tensor(cos), torch.tensor(sin)

    def apply(x: torch.Tensor) -> torch.Tensor:
        head, tail = x[..., :size], x[..., size:]
        a, b = (head[..., ::2], head[..., 1::2]) if interleaved else head.chunk(2, -1)
        pair = (a * c - b * s, a * s + b * c)
        turned = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
        return torch.cat([turned, tail], -1)

    return apply


ANGLES = np.random.default_rng(5).uniform(-3, 3, (6, 2))
COS, SIN = np.cos(ANGLES), np.sin(ANGLES)
AT = np.array([[3, 0, 5]])

CASES += [
    Case(
        "RotaryEmbedding",
        (normal(1, 2, 3, 4), COS, SIN, AT),
        {"interleaved": interleaved},
        name=f"interleaved-{interleaved}",
        opset=23,
        torch=rotated(bool(interleaved), 4, COS[AT], SIN[AT]),
    )
    for interleaved in (0, 1)
]
CASES += [
    Case(
        "RotaryEmbedding",
        (normal(2, 3, 12), np.stack([COS[:3], COS[3:]]), np.stack([SIN[:3], SIN[3:]])),
        {"num_heads": 2, "rotary_embedding_dim": 4},
        name="merged-partial",
        opset=23,
        torch=lambda x: (
            rotated(False, 4, COS.reshape(2, 1, 3, 2), SIN.reshape(2, 1, 3, 2))(heads(x, 2)).transpose(1, 2).flatten(2)
        ),
    ),
]
CASES += [
    Case("RotaryEmbedding", (normal(1, 2, 3, 4), normal(6, 2), normal(6, 2), AT), name="caches", opset=23),
    Case("RotaryEmbedding", (normal(1, 2, 3, 4), normal(1, 3, 2), SIN[None, :3]), name="cosines", opset=23),
]
