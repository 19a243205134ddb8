"""Cases of operators that move, copy or retype elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .base import Case, normal


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def sequences(reversed_axes: tuple[int, int], lengths: list[int]) -> Any:
    """Reverse the first ``lengths[b]`` elements of sequence b; axes are (batch, time)."""

    def apply(x: torch.Tensor) -> torch.Tensor:
        batch, time = reversed_axes
        y = x.movedim((batch, time), (0, 1))
        y = torch.stack([torch.cat([s[:n].flip(0), s[n:]]) for s, n in zip(y, lengths)])
        return y.movedim((0, 1), (batch, time))

    return apply


def space_to_depth(x: torch.Tensor, block: int) -> torch.Tensor:
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(n, c * block * block, h // block, w // block)


def depth_to_space(x: torch.Tensor, block: int) -> torch.Tensor:
    n, c, h, w = x.shape
    x = x.reshape(n, block, block, c // block**2, h, w)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(n, c // block**2, h * block, w * block)


CASES = [
    Case("Identity", (normal("N", 3),), torch=torch.clone),
    Case("Reshape", (normal("N", 3, 4), i64(-1, 12)), name="inferred", torch=lambda x: x.reshape(-1, 12)),
    Case("Reshape", (normal("N", 3, 4), i64(0, 2, -1)), name="copied", torch=lambda x: x.reshape(len(x), 2, 6)),
    Case("Reshape", (normal("N", 3, 4), i64(2, 0, -1)), name="moved", torch=lambda x: x.reshape(2, 3, -1)),
    Case("Reshape", (normal("N", 3, 4), i64(-1)), name="flat", torch=lambda x: x.reshape(-1)),
    Case("Reshape", (normal(1), i64()), name="to-scalar", torch=lambda x: x.reshape(())),
    Case("Reshape", (normal(), i64(1, 1)), name="from-scalar", torch=lambda x: x.reshape(1, 1)),
    Case(
        "Reshape",
        (normal("N", 3, 0), i64(0, 4, 5)),
        {"allowzero": 1},
        name="allowzero",
        torch=lambda x: x.reshape(0, 4, 5),
    ),
    Case("Reshape", (normal("N", 0, 4), i64(0, 0, 2, 2)), name="empty", torch=lambda x: x.reshape(len(x), 0, 2, 2)),
    Case(
        "Reshape",
        (normal("N", "C3", "H4"), i64(0, -1)),
        name="symbolic",
        torch=lambda x: x.reshape(len(x), -1),
    ),
    Case("Reshape", (normal("N", 3, 4), i64(-1, 6)), name="run-time", runtime=(1,), torch=lambda x: x.reshape(-1, 6)),
    Case("Flatten", (normal("N", 3, 4),), name="default", torch=lambda x: x.flatten(1)),
    Case("Flatten", (normal("N", 3, 4),), {"axis": 0}, name="axis-0", torch=lambda x: x.reshape(1, -1)),
    Case("Flatten", (normal("N", 3, "W4"),), {"axis": -1}, name="negative", torch=lambda x: x.reshape(-1, 4)),
    Case("Flatten", (normal("N", 3),), {"axis": 2}, name="axis-rank", torch=lambda x: x.reshape(-1, 1)),
    Case("Squeeze", (normal("N", 1, 3, 1), i64(1, -1)), name="axes", torch=lambda x: x.squeeze(3).squeeze(1)),
    Case("Squeeze", (normal(1, 3, 1),), name="all", torch=lambda x: x.squeeze()),
    Case("Unsqueeze", (normal("N", 3), i64(0, -1)), name="axes", torch=lambda x: x[None, ..., None]),
    Case("Unsqueeze", (normal(), i64(0)), name="scalar", torch=lambda x: x[None]),
    Case("Squeeze", (normal("N", 3, 1), i64(2)), name="run-time", runtime=(1,), torch=lambda x: x.squeeze(2)),
    Case("Unsqueeze", (normal("N", "T3"), i64(1)), name="run-time", runtime=(1,), torch=lambda x: x[:, None]),
    Case("Transpose", (normal("N", 3, 4),), name="default", torch=lambda x: x.permute(2, 1, 0)),
    Case(
        "Transpose", (normal("N", 3, 4, 5),), {"perm": [0, 2, 3, 1]}, name="perm", torch=lambda x: x.permute(0, 2, 3, 1)
    ),
    Case("Transpose", (normal("N", 3, 0),), {"perm": [2, 0, 1]}, name="empty", torch=lambda x: x.permute(2, 0, 1)),
    Case(
        "Cast",
        (normal("N", 3),),
        {"to": 1},
        torch=lambda x: x,
        reference=False,
        note="to float32 for good; other types are in test_shape_rules.py",
    ),
    Case("CastLike", (normal("N", 3), np.zeros(1)), name="same", torch=lambda x: x),
    Case("Dropout", (normal("N", 3),), name="inference", torch=lambda x: x),
    Case("Dropout", (normal("N", 3), np.array(0.7)), name="ratio", outputs=2, torch=lambda x: x),
    Case("Dropout", (normal("N", 3), np.array(0.7), np.array(False)), name="stated-inference", torch=lambda x: x),
    Case("Dropout", (normal("N", 3), np.array(0.0), np.array(True)), name="training-keeps-all", torch=lambda x: x),
    Case(
        "Concat",
        (normal("N", 2, 3), normal("N", 1, 3), normal("N", 4, 3)),
        {"axis": 1},
        name="static",
        torch=lambda *x: torch.cat(x, 1),
    ),
    Case(
        "Concat",
        (normal("N", 2, "W3"), normal("N", 1, "W3", wrt=False), normal("N", 4, "W3")),
        {"axis": -2},
        name="some-wanted",
        torch=lambda *x: torch.cat(x, 1),
    ),
    Case(
        "Concat",
        (normal("N", 2), normal("M2", 2, wrt=False), normal(3, 2)),
        {"axis": 0},
        name="symbolic",
        torch=lambda *x: torch.cat(x),
    ),
    Case(
        "Concat",
        (normal("N", "T3", 2), normal("N", "S4", 2)),
        {"axis": 1},
        name="symbolic-tokens",
        torch=lambda *x: torch.cat(x, 1),
    ),
    Case("Concat", (normal("N", 3),), {"axis": 1}, name="one", torch=lambda x: x.clone()),
    Case("Concat", (normal("N", 0), normal("N", 3)), {"axis": 1}, name="empty", torch=lambda *x: torch.cat(x, 1)),
    Case(
        "Split",
        (normal("N", 6, 2), i64(1, 2, 3)),
        {"axis": 1},
        name="sizes",
        outputs=3,
        output=1,
        torch=lambda x: x[:, 1:3],
    ),
    Case(
        "Split",
        (normal("N", 7),),
        {"axis": -1, "num_outputs": 3},
        name="uneven",
        outputs=3,
        output=2,
        torch=lambda x: x[:, 6:],
    ),
    Case("Split", (normal(4, "N"),), {"num_outputs": 2}, name="default-axis", outputs=2, torch=lambda x: x[:2]),
    Case("Split", (normal("N", 5), i64(5)), {"axis": 1}, name="one", torch=torch.clone),
    Case(
        "Split",
        (normal("N", "T5"), i64(2, 3)),
        {"axis": 1},
        name="run-time",
        outputs=2,
        output=1,
        runtime=(1,),
        torch=lambda x: x[:, 2:],
    ),
    Case("Expand", (normal("N", 1, 3), i64(1, 4, 3)), name="axis", torch=lambda x: x.expand(-1, 4, 3)),
    Case("Expand", (normal("N", 3), i64(2, 1, 3)), name="new-axis", torch=lambda x: x.expand(2, -1, 3)),
    Case("Expand", (normal("N", 3), i64(1)), name="nothing", torch=torch.clone),
    Case("Expand", (normal(), i64(2, 3)), name="scalar", torch=lambda x: x.expand(2, 3)),
    Case("Expand", (normal("N", 1), i64(1, 4)), name="run-time", runtime=(1,), torch=lambda x: x.expand(-1, 4)),
    Case("Expand", (normal("N", 1, 3), i64(1, 0, 1)), name="empty", torch=lambda x: x.expand(-1, 0, 3)),
    Case("Tile", (normal("N", 3, 2), i64(1, 2, 3)), name="two-axes", torch=lambda x: x.repeat(1, 2, 3)),
    Case("Tile", (normal("N", 3), i64(2, 1)), name="batch", torch=lambda x: x.repeat(2, 1)),
    Case("Tile", (normal("N", "H3", "W2"), i64(1, 2, 1)), name="symbolic", torch=lambda x: x.repeat(1, 2, 1)),
    Case("Tile", (normal("N", "H3"), i64(1, 2)), name="run-time", runtime=(1,), torch=lambda x: x.repeat(1, 2)),
    Case("Tile", (normal("N", 3), i64(1, 1)), name="once", torch=torch.clone),
    Case("Tile", (normal("N", 3), i64(1, 0)), name="never", torch=lambda x: x.repeat(1, 0)),
    Case("DepthToSpace", (normal("N", 12, 2, 3),), {"blocksize": 2}, name="dcr", torch=lambda x: depth_to_space(x, 2)),
    Case(
        "DepthToSpace",
        (normal("N", 12, 2, 3),),
        {"blocksize": 2, "mode": "CRD"},
        name="crd",
        torch=lambda x: F.pixel_shuffle(x, 2),
    ),
    Case(
        "DepthToSpace",
        (normal("N", "C18", "H2", "W3"),),
        {"blocksize": 3, "mode": "CRD"},
        name="crd-symbolic",
        torch=lambda x: F.pixel_shuffle(x, 3),
    ),
    Case(
        "SpaceToDepth", (normal("N", 3, 4, 6),), {"blocksize": 2}, name="static", torch=lambda x: space_to_depth(x, 2)
    ),
    Case(
        "SpaceToDepth",
        (normal("N", 2, "H3", "W6"),),
        {"blocksize": 3},
        name="symbolic",
        torch=lambda x: space_to_depth(x, 3),
    ),
    Case("Trilu", (normal("N", 3, 4),), name="upper", torch=torch.triu),
    Case("Trilu", (normal("N", 3, 4), np.array(-1)), {"upper": 0}, name="lower-k", torch=lambda x: torch.tril(x, -1)),
    Case("Trilu", (normal("N", 3, 3), np.array(1)), name="run-time-k", runtime=(1,), torch=lambda x: torch.triu(x, 1)),
    Case(
        "ReverseSequence",
        (normal(4, 3, "N"), i64(3, 1, 4)),
        name="time-first",
        torch=sequences((1, 0), [3, 1, 4]),
    ),
    Case(
        "ReverseSequence",
        (normal(3, 4, "N"), i64(2, 4, 1)),
        {"batch_axis": 0, "time_axis": 1},
        name="batch-first-run-time",
        runtime=(1,),
        torch=sequences((0, 1), [2, 4, 1]),
    ),
]
