"""Cases of Pad and CenterCropPad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .base import Case, Extent, normal

CROPS: dict[str, Any] = {"reference": False, "note": "onnx's reference evaluator refuses negative pads"}
MODES = ("edge", "reflect", "wrap")
TORCH_MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def pad2d(mode: str, *pads: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Pads as torch orders them: left, right, top, bottom."""
    return lambda x: F.pad(x, pads, mode=TORCH_MODES[mode])


def by_index(axis: int, indices: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a repeating pad does to one axis, spelled out."""
    return lambda x: x.index_select(axis, torch.tensor(indices))


def case(mode: str, name: str, shape: tuple[Extent, ...], pads: np.ndarray, twin: Any, **options: Any) -> Case:
    axes = options.pop("axes", None)
    inputs = (normal(*shape), pads) if axes is None else (normal(*shape), pads, None, axes)
    return Case("Pad", inputs, {"mode": mode}, name=f"{mode}-{name}", torch=twin, opset=19, **options)


CASES = [
    case("constant", "zero", ("N", 2, 3, 4), i64(0, 0, 0, 0, 0, 0, 0, 0), torch.clone),
    case("constant", "uneven", ("N", 2, 3, 4), i64(0, 0, 1, 0, 0, 0, 2, 3), pad2d("constant", 0, 3, 1, 2)),
    case(
        "constant", "negative", ("N", 2, 3, 4), i64(0, 0, -1, 2, 0, 0, 1, -1), pad2d("constant", 2, -1, -1, 1), **CROPS
    ),
    case("constant", "crop", ("N", 2, 3, 4), i64(0, 0, -1, 0, 0, 0, 0, -2), pad2d("constant", 0, -2, -1, 0), **CROPS),
    case("constant", "batch", ("N", 3), i64(1, 0, 2, 0), lambda x: F.pad(x, (0, 0, 1, 2))),
    case("constant", "empty", ("N", 0), i64(0, 1, 0, 1), lambda x: F.pad(x, (1, 1))),
    case("constant", "symbolic", ("N", 2, "H3", "W4"), i64(0, 0, 1, 1, 0, 0, 1, 1), pad2d("constant", 1, 1, 1, 1)),
    case(
        "constant",
        "run-time",
        ("N", 2, 3, 4),
        i64(0, 0, 1, 2, 0, 0, -1, 1),
        pad2d("constant", 2, 1, 1, -1),
        runtime=(1,),
        **CROPS,
    ),
    case("constant", "axes", ("N", 2, 3), i64(1, -1), lambda x: F.pad(x, (1, -1)), axes=i64(-1), **CROPS),
    case("constant", "axes-kept", ("N", 2, 3), i64(1, 2, 0, 1), lambda x: F.pad(x, (1, 0, 2, 1)), axes=i64(2, 1)),
    case("constant", "run-time-axes", ("N", 2, 3), i64(1, 2), lambda x: F.pad(x, (1, 2)), axes=i64(2), runtime=(3,)),
    Case(
        "Pad",
        (normal("N", 3), i64(0, 2, 0, -1), normal()),
        name="value",
        torch=lambda x, v: torch.cat([v.expand(len(x), 2), x[:, :2]], 1),
        **CROPS,
    ),
    Case("Pad", (normal("N", 3), i64(1, 1), np.array(0.5), i64(1)), name="value-constant"),
    *(case(m, "image", ("N", 2, 4, 5), i64(0, 0, 1, 2, 0, 0, 3, 1), pad2d(m, 2, 1, 1, 3)) for m in MODES),
    *(case(m, "one-side", ("N", 2, 4, 5), i64(0, 0, 0, 2, 0, 0, 3, 0), pad2d(m, 2, 0, 0, 3)) for m in MODES),
    *(case(m, "symbolic", ("N", 2, "H4", "W5"), i64(0, 0, 1, 2, 0, 0, 3, 1), pad2d(m, 2, 1, 1, 3)) for m in MODES),
    *(case(m, "axes", ("N", 4), i64(1, 3), lambda x, m=m: pad2d(m, 1, 3)(x), axes=i64(-1)) for m in MODES),
    *(case(m, "run-time", ("N", 2, 4), i64(0, 0, 1, 0, 0, 2), pad2d(m, 1, 2), runtime=(1,)) for m in MODES),
    case("edge", "cropped", ("N", 4), i64(0, -1, 0, 2), by_index(1, [1, 2, 3, 3, 3]), **CROPS),
    case("edge", "long", ("N", 1), i64(0, 2, 0, 3), by_index(1, [0] * 6)),
    case("reflect", "cropped", ("N", 4), i64(0, -1, 0, 2), by_index(1, [1, 2, 3, 2, 1]), **CROPS),
    case("wrap", "cropped", ("N", 4), i64(0, 1, 0, -2), by_index(1, [1, 0, 1]), **CROPS),
    case("wrap", "full", ("N", 3), i64(0, 3, 0, 3), by_index(1, [0, 1, 2] * 3)),
    case("wrap", "twice", ("N", 2), i64(0, 5, 0, 4), by_index(1, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1])),
    Case("CenterCropPad", (normal("N", 5, 4), i64(3, 2, 7)), name="all-axes"),
    Case("CenterCropPad", (normal("N", 5, 4), i64(2, 7)), {"axes": [1, 2]}, name="odd"),
    Case("CenterCropPad", (normal("N", 5, 4), i64(8, 1)), {"axes": [-2, -1]}, name="run-time", runtime=(1,)),
    Case(
        "CenterCropPad",
        (normal("N", "H5", 4), i64(3)),
        {"axes": [1]},
        name="crop",
        torch=lambda x: x[:, 1:4],
    ),
]
