"""Cases of ONNX Runtime's RotaryEmbedding and GroupQueryAttention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from support.cases.base import Case, normal

MS: dict[str, Any] = {"domain": "com.microsoft", "reference": False, "note": "an operator of ONNX Runtime"}
ANGLES = np.arange(8)[:, None] / np.array([1.0, 7.0])
COS, SIN = np.cos(ANGLES), np.sin(ANGLES)
POSITIONS = np.array([[1, 4, 2], [0, 7, 5]], np.int64)


def rotated(x: torch.Tensor, positions: np.ndarray, pairs: bool = False, angles: np.ndarray = ANGLES) -> torch.Tensor:
    """[B, heads, S, size]: the first elements of every head, two for every angle."""
    at = torch.tensor(angles)[torch.tensor(positions)][:, None]
    c, s = at.cos(), at.sin()
    half = angles.shape[1]
    head, rest = x[..., : 2 * half], x[..., 2 * half :]
    a, b = (head[..., 0::2], head[..., 1::2]) if pairs else (head[..., :half], head[..., half:])
    parts = [a * c - b * s, a * s + b * c]
    return torch.cat([torch.stack(parts, -1).flatten(-2) if pairs else torch.cat(parts, -1), rest], -1)


def split(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def merge(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


def rotary(name: str, inputs: tuple[Any, ...], attributes: dict[str, Any], twin: Any) -> Case:
    return Case("RotaryEmbedding", (*inputs, COS, SIN), attributes, name=name, torch=twin, **MS)


CASES = [
    rotary("tokens", (normal(2, 3, 8), POSITIONS), {}, lambda x: merge(rotated(split(x, 2), POSITIONS))),
    rotary("pairs", (normal(2, 3, 8), POSITIONS), {"interleaved": 1},
           lambda x: merge(rotated(split(x, 2), POSITIONS, pairs=True))),
    rotary("offset", (normal("N", 3, 4), np.array([2], np.int64)), {},
           lambda x: merge(rotated(split(x, 1), np.arange(2, 5)[None]))),
    rotary("heads", (normal(2, 3, 3, 4), POSITIONS), {"interleaved": 1}, lambda x: rotated(x, POSITIONS, pairs=True)),
    rotary("partial", (normal(2, 3, 12), POSITIONS), {"num_heads": 2, "rotary_embedding_dim": 4},
           lambda x: merge(rotated(split(x, 2), POSITIONS))),
    rotary("partial-pairs", (normal(2, 3, 12), POSITIONS),
           {"num_heads": 2, "rotary_embedding_dim": 4, "interleaved": 1},
           lambda x: merge(rotated(split(x, 2), POSITIONS, pairs=True))),
]  # fmt: skip


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, heads: int = 4, groups: int = 2, rotate: Any = None,
    past: tuple[torch.Tensor, torch.Tensor] | None = None, window: int = 0, cap: float = 0.0, bias: Any = 0.0,
    sink: torch.Tensor | None = None, scale: float | None = None, causal: bool = True,
) -> torch.Tensor:  # fmt: skip
    q, k, v = split(q, heads), split(k, groups), split(v, groups)
    if rotate is not None:
        q, k = rotate(q), rotate(k)
    if past is not None:
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    k, v = (x.repeat_interleave(heads // groups, 1) for x in (k, v))
    logits = q @ k.mT * (scale or 1 / math.sqrt(q.shape[-1]))
    logits = cap * torch.tanh(logits / cap) if cap else logits
    logits = logits + bias
    at, place = torch.arange(q.shape[2])[:, None] + k.shape[2] - q.shape[2], torch.arange(k.shape[2])
    if causal:
        logits = logits.masked_fill(place > at, -math.inf)
    if window:
        logits = logits.masked_fill(place <= at - window, -math.inf)
    if sink is not None:
        more = sink[:, None, None].expand(*logits.shape[:3], 1)
        return merge(torch.softmax(torch.cat([logits, more], -1), -1)[..., :-1] @ v)
    return merge(torch.softmax(logits, -1) @ v)


Q, K = normal(2, 3, 64), normal(2, 3, 32)
Q1, K1, CACHE = normal(2, 1, 64), normal(2, 1, 32), normal(2, 2, 4, 16)
WIDE = np.arange(8)[:, None] / np.arange(1, 9)
HEADS = {"num_heads": 4, "kv_num_heads": 2}
ALL = (np.array([2, 2], np.int32), np.array(3, np.int32))
STEPS = np.arange(3)[None]


def grouped(name: str, inputs: tuple[Any, ...], attributes: dict[str, Any], twin: Any) -> Case:
    return Case("GroupQueryAttention", inputs, {**HEADS, **attributes}, name=name, outputs=3, torch=twin, **MS)


NO_PAST = (Q, K, K, None, None, *ALL)
CASES += [
    grouped("plain", NO_PAST, {}, attend),
    grouped("scale", NO_PAST, {"scale": 0.4, "softcap": 2.0}, lambda q, k, v: attend(q, k, v, scale=0.4, cap=2.0)),
    grouped("packed", (normal(2, 3, 128), None, None, None, None, *ALL), {},
            lambda p: attend(*p.split([64, 32, 32], -1))),
    grouped("one-group", (Q, normal(2, 3, 16), normal(2, 3, 16), None, None, *ALL), {"kv_num_heads": 1},
            lambda q, k, v: attend(q, k, v, groups=1)),
    grouped("window", NO_PAST, {"local_window_size": 2}, lambda q, k, v: attend(q, k, v, window=2)),
    grouped("rotary", (*NO_PAST, np.cos(WIDE), np.sin(WIDE)), {"do_rotary": 1},
            lambda q, k, v: attend(q, k, v, rotate=lambda x: rotated(x, STEPS, angles=WIDE))),
    grouped("rotary-pairs", (*NO_PAST, np.cos(WIDE), np.sin(WIDE)), {"do_rotary": 1, "rotary_interleaved": 1},
            lambda q, k, v: attend(q, k, v, rotate=lambda x: rotated(x, STEPS, angles=WIDE, pairs=True))),
    grouped("smooth", NO_PAST, {"smooth_softmax": 1},
            lambda q, k, v: attend(q, k, v, sink=torch.zeros(4, dtype=torch.float64))),
    grouped("sink", (*NO_PAST, None, None, None, None, normal(4)), {},
            lambda q, k, v, sink: attend(q, k, v, sink=sink)),
    grouped("bias", (*NO_PAST, None, None, None, normal(1, 4, 3, 3)), {},
            lambda q, k, v, bias: attend(q, k, v, bias=bias)),
    grouped("bias-of-all-heads", (*NO_PAST, None, None, None, normal(2, 1, 3, 3)), {},
            lambda q, k, v, bias: attend(q, k, v, bias=bias)),
    grouped("past", (Q1, K1, K1, CACHE, CACHE,
            np.array([4, 4], np.int32), np.array(5, np.int32), np.cos(WIDE), np.sin(WIDE)), {"do_rotary": 1},
            lambda q, k, v, pk, pv: attend(
                q, k, v, past=(pk, pv), rotate=lambda x: rotated(x, np.array([[4]]), angles=WIDE))),
    grouped("long-past", (normal(1, 2, 64), normal(1, 2, 32), normal(1, 2, 32), *[normal(1, 2, 6, 16)] * 2,
            np.array([4], np.int32), np.array(5, np.int32)), {},
            lambda q, k, v, pk, pv: attend(q, k, v, past=(pk[:, :, :3], pv[:, :, :3]))),
    grouped("ragged-past", (Q1, K1, K1, CACHE, CACHE, np.array([4, 2], np.int32), np.array(5, np.int32),
            np.cos(WIDE), np.sin(WIDE)), {"do_rotary": 1},
            lambda q, k, v, pk, pv: torch.cat([
                attend(q[b : b + 1], k[b : b + 1], v[b : b + 1], past=(pk[b : b + 1, :, :n], pv[b : b + 1, :, :n]),
                       rotate=lambda x, n=n: rotated(x, np.array([[n]]), angles=WIDE))
                for b, n in enumerate((4, 2))])),
    grouped("not-causal", NO_PAST, {"causal": 0}, lambda q, k, v: attend(q, k, v, causal=False)),
]  # fmt: skip
