"""Cases of the operators that read an image between or at chosen pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .base import Case, Input, normal, uniform

_TORCH_MODES = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}
_FLOAT32 = "the reference evaluator computes in float32 whatever the model's type, too coarse for its small steps"

_CUBIC = "too curved for the steps that differences in float32 need; only torch is compared"


def _sampler(mode: str, padding: str, align: bool) -> Callable[..., Tensor]:
    return lambda x, grid: functional.grid_sample(x, grid, _TORCH_MODES[mode], padding, align)


def _grid(*shape: int | str, image: tuple[int, ...], align: bool = False, wrt: bool = True) -> Input:
    """Positions up to two pixels outside an image of these extents, none within 0.2 pixels of a pixel's centre."""

    def draw(rng: np.random.Generator, extents: tuple[int, ...]) -> np.ndarray:
        columns = []
        for extent in reversed(image):
            pixel = rng.integers(-2, extent + 1, extents[:-1]) + rng.uniform(0.2, 0.8, extents[:-1])
            columns.append(2 * pixel / (extent - 1) - 1 if align else (2 * pixel + 1) / extent - 1)
        return np.stack(columns, -1)

    return Input((*shape, len(image)), draw, wrt)


def _grids() -> list[Case]:
    cases = []
    for mode, padding, align in product(_TORCH_MODES, ("zeros", "border", "reflection"), (False, True)):
        attributes = {"mode": mode, "padding_mode": padding, "align_corners": int(align)}
        for kind, x, image, shape in [
            ("2d", (4, 5), (4, 5), (3, 2)), ("symbolic", ("H4", "W5"), (4, 5), ("P3", "Q2")),
            ("3d", (3, 4, 2), (3, 4, 2), (2, 1, 3)),
        ]:  # fmt: skip
            if kind == "3d" and mode == "cubic":
                continue  # neither ONNX Runtime nor torch has it
            grid = _grid("N", *shape, image=image, align=align, wrt=mode != "nearest")
            cases.append(
                Case("GridSample", (normal("N", 2, *x), grid), attributes, f"{mode}-{padding}-{int(align)}-{kind}",
                     _sampler(mode, padding, align), opset=20, reference=False, tie_free=mode != "cubic",
                     note=_CUBIC if mode == "cubic" else _FLOAT32)
            )  # fmt: skip
    x, grid = normal("N", 2, 4, 5), _grid("N", 3, 2, image=(4, 5))
    return [
        *cases,
        Case("GridSample", (x, grid), {"mode": "bilinear"}, "opset-18-bilinear", _sampler("linear", "zeros", False),
             reference=False, note=_FLOAT32),
        Case("GridSample", (x, grid), {"mode": "bicubic"}, "opset-18-bicubic", _sampler("cubic", "zeros", False),
             reference=False, tie_free=False, note=_CUBIC),
        Case("GridSample", (x, grid), name="opset-22", torch=_sampler("linear", "zeros", False), opset=22,
             reference=False, note=_FLOAT32),
        Case("GridSample", (normal("N", 1, 1, 1), uniform("N", 3, 2, 2, low=-1.2, high=1.2)),
             {"padding_mode": "reflection", "align_corners": 1}, "one-pixel", _sampler("linear", "reflection", True),
             opset=20, reference=False, note=_FLOAT32),
        Case("GridSample", (x, _grid("N", 3, 2, image=(4, 5), wrt=False)), name="image-only",
             torch=_sampler("linear", "zeros", False), opset=20, reference=False, note=_FLOAT32),
    ]  # fmt: skip


def deform(
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    group: int = 1,
    offset_group: int = 1,
) -> Callable[..., Tensor]:
    """Deformable convolution, tap by tap through grid_sample."""

    def run(x: Tensor, w: Tensor, offset: Tensor, *rest: Tensor) -> Tensor:
        n, height, width = x.shape[0], *x.shape[2:]
        positions = offset.shape[2:]
        bias = next((r for r in rest if r.dim() == 1), None)
        mask = next((r for r in rest if r.dim() == 4), torch.ones(n, offset.shape[1] // 2, *positions, dtype=x.dtype))
        offset = offset.reshape(n, offset_group, kernel[0] * kernel[1], 2, *positions)
        mask = mask.reshape(n, offset_group, kernel[0] * kernel[1], *positions)
        y = torch.zeros(n, w.shape[0], *positions, dtype=x.dtype)
        rows = torch.arange(positions[0], dtype=x.dtype)[:, None] * stride[0] - pads[0]
        columns = torch.arange(positions[1], dtype=x.dtype)[None] * stride[1] - pads[1]
        for tap, (i, j) in enumerate(product(range(kernel[0]), range(kernel[1]))):
            parts = []
            for g, part in enumerate(x.chunk(offset_group, 1)):
                v = (rows + i * dilation[0] + offset[:, g, tap, 0]) * 2 / (height - 1) - 1
                u = (columns + j * dilation[1] + offset[:, g, tap, 1]) * 2 / (width - 1) - 1
                sampled = functional.grid_sample(part, torch.stack([u, v], -1), align_corners=True)
                parts.append(sampled * mask[:, g, tap, None])
            y = y + functional.conv2d(torch.cat(parts, 1), w[:, :, i, j, None, None], groups=group)
        return y if bias is None else y + bias[:, None, None]

    return run


def _offset(*shape: int | str) -> Input:
    """Offsets between -1.4 and 1.4, none near a whole number."""

    def draw(rng: np.random.Generator, extents: tuple[int, ...]) -> np.ndarray:
        return rng.integers(-1, 2, extents) + rng.uniform(0.1, 0.4, extents) * rng.choice([-1, 1], extents)

    return Input(shape, draw)


def _deform_convs() -> list[Case]:
    return [
        Case("DeformConv", (normal("N", 2, 4, 5), normal(3, 2, 2, 2), _offset("N", 8, 3, 4)), name="defaults",
             torch=deform((2, 2)), opset=19, reference=False, note=_FLOAT32),
        Case("DeformConv", (normal("N", 2, 4, 5), normal(3, 2, 2, 2), _offset("N", 8, 3, 4), normal(3),
                            uniform("N", 4, 3, 4)), name="bias-mask", torch=deform((2, 2)), opset=19, reference=False,
             note=_FLOAT32),
        Case("DeformConv", (normal("N", 2, 4, 5), normal(3, 2, 2, 2), _offset("N", 8, 3, 4), None,
                            uniform("N", 4, 3, 4)), name="mask", torch=deform((2, 2)), opset=22, reference=False,
             note=_FLOAT32),
        Case("DeformConv", (normal("N", 4, 5, 6), normal(6, 2, 3, 2), _offset("N", 24, 3, 3), normal(6),
                            uniform("N", 12, 3, 3)),
             {"strides": [2, 2], "pads": [1, 1, 1, 0], "group": 2, "offset_group": 2, "kernel_shape": [3, 2]},
             "groups", deform((3, 2), (2, 2), (1, 1), (1, 1), 2, 2), opset=19, reference=False, note=_FLOAT32),
        Case("DeformConv", (normal("N", 2, "H5", "W6"), normal(2, 2, 2, 3), _offset("N", 12, "P5", "Q4")),
             {"dilations": [2, 1], "pads": [1, 0, 1, 0]}, "dilated-symbolic",
             deform((2, 3), pads=(1, 0), dilation=(2, 1)), opset=19, reference=False, note=_FLOAT32),
    ]  # fmt: skip


def fold(image: tuple[int, int], block: tuple[int, int], **options: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.fold(x, image, block, **options)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _folds() -> list[Case]:
    return [
        Case("Col2Im", (normal("N", 12, 12), _ints(4, 5), _ints(2, 2)), name="defaults", torch=fold((4, 5), (2, 2))),
        Case("Col2Im", (normal("N", 12, 9), _ints(5, 6), _ints(2, 3)),
             {"strides": [2, 2], "pads": [1, 1, 1, 1], "dilations": [1, 1]}, "strides-pads",
             fold((5, 6), (2, 3), stride=2, padding=1)),
        Case("Col2Im", (normal("N", 8, 8), _ints(5, 6), _ints(2, 2)), {"strides": [2, 1], "dilations": [1, 2]},
             "dilations", fold((5, 6), (2, 2), stride=(2, 1), dilation=(1, 2))),
        Case("Col2Im", (normal("N", 8, 12), _ints(4, 5), _ints(2, 2)), name="shape-at-run-time",
             torch=fold((4, 5), (2, 2)), runtime=(1,)),
        Case("Col2Im", (normal("N", 12, 9), _ints(5, 6), _ints(2, 3)), {"strides": [2, 2], "pads": [1, 1, 1, 1]},
             "block-at-run-time", fold((5, 6), (2, 3), stride=2, padding=1), runtime=(1, 2),
             result=("N", 2, "H5", "W6")),
        Case("Col2Im", (normal("N", 8, 4), _ints(2, 3, 3), _ints(1, 2, 2)), {"strides": [2, 1, 1]}, "3d",
             reference=False, note="the reference evaluator folds two axes only"),
    ]  # fmt: skip


def unpool(extents: tuple[int, ...], indices: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Values at flat indices of an output of these extents."""

    def run(x: Tensor) -> Tensor:
        y = torch.zeros(int(np.prod(extents)), dtype=x.dtype)
        return y.index_put((torch.tensor(indices),), x).reshape(extents)

    return run


_RNG = np.random.default_rng(11)
_UNPOOLED = np.sort(_RNG.permutation(2 * 2 * 4 * 6)[: 2 * 2 * 2 * 3]).reshape(2, 2, 2, 3)
_LARGER = np.sort(_RNG.permutation(2 * 2 * 5 * 6)[: 2 * 2 * 2 * 3]).reshape(2, 2, 2, 3)


def _unpools() -> list[Case]:
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    flat = "the reference evaluator reads the indices in the smaller inferred shape, ONNX Runtime in output_shape"
    return [
        Case("MaxUnpool", (normal(2, 2, 2, 3), _UNPOOLED), attributes, "inferred", unpool((2, 2, 4, 6), _UNPOOLED)),
        Case("MaxUnpool", (normal(2, 2, 2, 3), _UNPOOLED, _ints(2, 2, 4, 6)), attributes, "shape",
             unpool((2, 2, 4, 6), _UNPOOLED), opset=22, result=(2, 2, 4, 6)),
        Case("MaxUnpool", (normal(2, 2, 2, 3), _LARGER, _ints(2, 2, 5, 6)), attributes, "larger-shape",
             unpool((2, 2, 5, 6), _LARGER), reference=False, note=flat, result=(2, 2, 5, 6)),
        Case("MaxUnpool", (normal(2, 2, 2, 3), _LARGER, _ints(2, 2, 5, 6)), attributes, "shape-at-run-time",
             unpool((2, 2, 5, 6), _LARGER), reference=False, note=flat, runtime=(2,), result=("A2", "B2", "H5", "W6")),
    ]  # fmt: skip


def affine(size: tuple[int, ...], align: bool) -> Callable[[Tensor], Tensor]:
    return lambda theta: functional.affine_grid(theta, list(size), align)


def _affine_grids() -> list[Case]:
    return [
        Case("AffineGrid", (normal(2, len(size) - 2, len(size) - 1), _ints(*size)), {"align_corners": align},
             f"{len(size) - 2}d-{align}-{'run-time' if runtime else 'constant'}", affine(size, bool(align)),
             runtime=runtime, opset=20, reference=False, note=_FLOAT32)
        for size in ((2, 3, 4, 5), (2, 1, 2, 3, 4))
        for align in (0, 1)
        for runtime in ((), (1,))
    ]  # fmt: skip


CASES = [*_grids(), *_deform_convs(), *_folds(), *_unpools(), *_affine_grids()]
