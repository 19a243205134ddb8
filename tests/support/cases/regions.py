"""Cases of the operators that pool regions of interest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .base import Case, Input, distinct, normal

_STEPS = "differences of the regions would step over pixels; only torch is compared"
_FLOAT32 = "the reference evaluator computes in float32 whatever the model's type, too coarse for its small steps"
_NO_REFERENCE = "the reference evaluator lacks MaxRoiPool"

# Inside, partly outside, smaller than a pixel, upside down, far outside.
_BOXES = np.array(
    [[0.3, 0.2, 3.3, 4.1], [1.2, -2.3, 9.1, 8.7], [2.3, 2.1, 2.6, 2.2], [4.2, 4.6, 3.1, 2.9], [20.0, 20.0, 30.0, 30.0]]
)
_IMAGES = np.array([0, 1, 1, 0, 0])


def boxes(wrt: bool = True, number: int | str = 5) -> Input:
    """The regions above, moved a little."""
    return Input((number, 4), lambda rng, shape: _BOXES[: shape[0]] + rng.uniform(-0.05, 0.05, shape), wrt)


def align(
    output: tuple[int, int],
    images: np.ndarray,
    ratio: int = 0,
    scale: float = 1.0,
    half: bool = True,
    mode: str = "avg",
) -> Callable[[Tensor, Tensor], Tensor]:
    """RoiAlign, bin by bin and sample by sample."""

    def sample(x: Tensor, v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The bilinear value [C], and the largest of the four products that it is the sum of."""
        height, width = x.shape[1:]
        if not (-1 <= v <= height and -1 <= u <= width):
            return x[:, 0, 0] * 0, x[:, 0, 0] * 0
        v, u = (p.clamp(0, extent - 1) for p, extent in ((v, height), (u, width)))
        rows, columns = (int(p.detach()) for p in (v, u))
        below, right = min(rows + 1, height - 1), min(columns + 1, width - 1)
        t, s = v - rows, u - columns
        products = torch.stack([
            (1 - t) * (1 - s) * x[:, rows, columns], (1 - t) * s * x[:, rows, right],
            t * (1 - s) * x[:, below, columns], t * s * x[:, below, right],
        ])  # fmt: skip
        return products.sum(0), products.max(0).values

    def run(x: Tensor, rois: Tensor) -> Tensor:
        regions = []
        for image, roi in zip(images, rois * scale - (0.5 if half else 0.0)):
            left, top, right, bottom = roi
            width, height = right - left, bottom - top
            if not half:
                width, height = width.clamp(min=1.0), height.clamp(min=1.0)
            size = height / output[0], width / output[1]
            count = [ratio or math.ceil(s.detach()) for s in size]
            bins = []
            for i in range(output[0]):
                for j in range(output[1]):
                    found = [
                        sample(x[image], top + (i + (a + 0.5) / count[0]) * size[0],
                               left + (j + (b + 0.5) / count[1]) * size[1])
                        for a in range(count[0]) for b in range(count[1])
                    ]  # fmt: skip
                    if not found:
                        bins.append(x[image, :, 0, 0] * 0)
                    elif mode == "avg":
                        bins.append(torch.stack([value for value, _ in found]).mean(0))
                    else:
                        bins.append(torch.stack([largest for _, largest in found]).max(0).values)
            regions.append(torch.stack(bins, -1).reshape(-1, *output))
        return torch.stack(regions)

    return run


def _aligns() -> list[Case]:
    cases = []
    for mode in ("avg", "max"):
        for ratio in (0, 2):
            for half in (True, False):
                attributes = {
                    "mode": mode, "sampling_ratio": ratio, "output_height": 3, "output_width": 2, "spatial_scale": 0.8,
                    "coordinate_transformation_mode": "half_pixel" if half else "output_half_pixel",
                }  # fmt: skip
                name = f"{mode}-ratio{ratio}-{'half' if half else 'whole'}"
                twin = align((3, 2), _IMAGES, ratio, 0.8, half, mode)
                cases.append(Case("RoiAlign", (normal(2, 3, 6, 7), boxes(), _IMAGES), attributes, name, twin,
                                  reference=False, tie_free=False, note=_STEPS))  # fmt: skip
    zeros = np.zeros(5, dtype=np.int64)
    return [
        *cases,
        Case("RoiAlign", (normal("N", 2, 5, 6), boxes(wrt=False), zeros), name="image-only",
             torch=align((1, 1), zeros), reference=False, note=_FLOAT32),
        Case("RoiAlign", (normal("N", "C2", "H5", "W6"), boxes(number="R5"), zeros), {"output_width": 2}, "symbolic",
             align((1, 2), zeros), reference=False, tie_free=False, note=_STEPS, runtime=(2,)),
        Case("RoiAlign", (normal("N", "C2", "H5", "W6"), boxes(number="R5"), zeros), {"mode": "max"}, "symbolic-max",
             align((1, 1), zeros, mode="max"), reference=False, tie_free=False, note=_STEPS, runtime=(2,)),
        Case("RoiAlign", (normal("N", 2, 5, 6), boxes(number="R0"), zeros[:0]), name="no-regions",
             torch=lambda x, rois: x.new_zeros(0, 2, 1, 1) + 0 * (x.sum() + rois.sum()), runtime=(2,), reference=False,
             note=_FLOAT32),
    ]  # fmt: skip


def pool(output: tuple[int, int], scale: float) -> Callable[..., Tensor]:
    """MaxRoiPool, bin by bin."""

    def whole(v: float) -> int:
        return int(math.copysign(math.floor(abs(v) + 0.5), v))

    def run(x: Tensor, rois: Tensor) -> Tensor:
        height, width = x.shape[2:]
        regions = []
        for image, *corners in rois.tolist():
            left, top, right, bottom = (whole(c * scale) for c in corners)
            size = max(bottom - top + 1, 1) / output[0], max(right - left + 1, 1) / output[1]
            bins = []
            for i in range(output[0]):
                for j in range(output[1]):
                    rows, columns = (
                        slice(
                            *(min(max(edge + start, 0), extent) for edge in (math.floor(n * s), math.ceil((n + 1) * s)))
                        )
                        for n, s, start, extent in ((i, size[0], top, height), (j, size[1], left, width))
                    )
                    part = x[int(image), :, rows, columns].flatten(1)
                    bins.append(part.max(1).values if part.shape[1] else x[int(image), :, 0, 0] * 0)
            regions.append(torch.stack(bins, -1).reshape(-1, *output))
        return torch.stack(regions)

    return run


def _pools() -> list[Case]:
    regions = np.concatenate([_IMAGES[:, None], _BOXES], 1)
    first = np.concatenate([_IMAGES[:, None] * 0, _BOXES], 1)
    options: dict[str, Any] = {"reference": False, "note": _NO_REFERENCE}
    return [
        *(
            Case("MaxRoiPool", (distinct(2, 3, 6, 7), regions), {"pooled_shape": [3, 2], "spatial_scale": scale},
                 f"scale{scale}", lambda x, scale=scale: pool((3, 2), scale)(x, torch.tensor(regions)), **options)
            for scale in (1.0, 0.5, 0.8)
        ),
        Case("MaxRoiPool", (distinct("N", "C2", "H5", "W6"), Input(("R5", 5), lambda rng, shape: first)),
             {"pooled_shape": [2, 2]}, "symbolic", pool((2, 2), 1.0), **options),
        Case("MaxRoiPool", (distinct("N", 2, 5, 6), Input(("R0", 5), lambda rng, shape: first[:0], wrt=False)),
             {"pooled_shape": [2, 2]}, "no-regions", lambda x, rois: x.new_zeros(0, 2, 2, 2) + 0 * x.sum(), **options),
    ]  # fmt: skip


CASES = [*_aligns(), *_pools()]
