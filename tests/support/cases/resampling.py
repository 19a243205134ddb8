"""Cases of resizing. Every mode, at every scale, is checked against its own forward in test_resampling.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .base import Case, normal


def scales(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def sizes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def interpolate(mode: str, **given: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.interpolate(x, mode=mode, **given)


TWICE, ODD = scales(1, 1, 2, 2), scales(1, 1, 0.6, 1.7)
FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
CORNERS = {"coordinate_transformation_mode": "align_corners"}
PYTORCH = {"coordinate_transformation_mode": "pytorch_half_pixel"}
ORT_ANTIALIAS = "the evaluator's antialias filter differs from that of ONNX Runtime"

CASES = [
    Case("Resize", (normal("N", 2, 3, 4), None, TWICE), FLOOR, "nearest-twice",
         torch=interpolate("nearest", scale_factor=2)),
    Case("Resize", (normal("N", 2, "H3", "W4"), None, scales(1, 1, 3, 2)), FLOOR, "nearest-whole-symbolic",
         torch=interpolate("nearest", scale_factor=(3, 2))),
    Case("Resize", (normal("N", 2, 3, 4), None, None, sizes(2, 6, 8)), {**FLOOR, "axes": [1, 2, 3]}, "nearest-sizes",
         torch=interpolate("nearest", size=(6, 8))),
    Case("Resize", (normal("N", 2, 5), None, scales(1, 1, 3)), FLOOR, "nearest-1d",
         torch=interpolate("nearest", scale_factor=3)),
    Case("Resize", (normal("N", 2, 2, 3, 2), None, scales(1, 1, 2, 1, 3)), FLOOR, "nearest-3d",
         torch=interpolate("nearest", scale_factor=(2, 1, 3))),
    Case("Resize", (normal("N", 2, 6, 4), None, scales(1, 1, 0.5, 0.5)), FLOOR, "nearest-half",
         torch=interpolate("nearest", scale_factor=0.5)),
    Case("Resize", (normal("N", 2, 3, 4), None, TWICE), {}, "nearest-exact",
         torch=interpolate("nearest-exact", scale_factor=2)),
    Case("Resize", (normal("N", 2, "H5", "W4"), None, None, sizes(7, 8)), {"axes": [2, 3], **PYTORCH},
         "nearest-exact-sizes", torch=interpolate("nearest-exact", size=(7, 8))),
    Case("Resize", (normal("N", 3, 4, 2), None, scales(1, 2, 2, 1)), FLOOR, "nearest-channels-last",
         torch=lambda x: F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2).permute(0, 2, 3, 1)),
    Case("Resize", (normal("N", 2, 3, 4), None, TWICE), {"mode": "linear"}, "linear-twice",
         torch=interpolate("bilinear", scale_factor=2)),
    Case("Resize", (normal("N", 2, "H3", "W4"), None, TWICE), {"mode": "linear", **PYTORCH}, "linear-twice-symbolic",
         torch=interpolate("bilinear", scale_factor=2)),
    Case("Resize", (normal("N", 2, "H5", "W4"), None, None, sizes(8, 3)), {"mode": "linear", "axes": [2, 3], **CORNERS},
         "linear-corners", torch=interpolate("bilinear", size=(8, 3), align_corners=True)),
    Case("Resize", (normal("N", 2, 5, 1), None, None, sizes(1, 3)), {"mode": "linear", "axes": [-2, -1]},
         "linear-one-pixel", torch=interpolate("bilinear", size=(1, 3)), reference=False,
         note="the evaluator divides by zero at an extent of one"),
    Case("Resize", (normal("N", 2, 5), None, scales(1, 1, 2)), {"mode": "linear"}, "linear-1d",
         torch=interpolate("linear", scale_factor=2)),
    Case("Resize", (normal("N", 2, 2, 3, 2), None, scales(1, 1, 2, 1, 3)), {"mode": "linear", **CORNERS}, "linear-3d",
         torch=interpolate("trilinear", scale_factor=(2, 1, 3), align_corners=True)),
    Case("Resize", (normal("N", 2, 5, 4), None, ODD), {"mode": "linear"}, "linear-odd-scales",
         torch=interpolate("bilinear", scale_factor=(np.float32(0.6).item(), np.float32(1.7).item()))),
    Case("Resize", (normal("N", 2, 5, 4), None, ODD), {"mode": "linear"}, "linear-scales-at-run-time", runtime=(2,)),
    Case("Resize", (normal("N", 2, 5, 4), None, None, sizes(2, 7, 6)), {"mode": "linear", "axes": [1, 2, 3]},
         "linear-sizes-at-run-time", runtime=(3,), torch=interpolate("bilinear", size=(7, 6))),
    Case("Resize", (normal(2, 5), None, scales(2, 1.5)), {"mode": "linear"}, "linear-plane"),
    Case("Resize", (normal("N", 2, 6, 5), None, None, sizes(3, 2)), {"mode": "linear", "axes": [2, 3], "antialias": 1,
         "exclude_outside": 1}, "linear-antialias", torch=interpolate("bilinear", size=(3, 2), antialias=True),
         reference=False, note=ORT_ANTIALIAS),
    Case("Resize", (normal("N", 2, 4, 5), None, TWICE), {"mode": "cubic"}, "cubic-twice",
         torch=interpolate("bicubic", scale_factor=2)),
    Case("Resize", (normal("N", 2, "H5", "W4"), None, None, sizes(3, 9)), {"mode": "cubic", "axes": [2, 3], **CORNERS},
         "cubic-corners", torch=interpolate("bicubic", size=(3, 9), align_corners=True)),
    Case("Resize", (normal("N", 2, 4, 5), None, ODD), {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
         "cubic-exclude-outside"),
    Case("Resize", (normal("N", 2, 6, 5), None, None, sizes(3, 2)), {"mode": "cubic", "axes": [2, 3], "antialias": 1,
         "exclude_outside": 1, "cubic_coeff_a": -0.5}, "cubic-antialias",
         torch=interpolate("bicubic", size=(3, 2), antialias=True), reference=False, note=ORT_ANTIALIAS),
    Case("Resize", (normal("N", 2, 5, 6), scales(0.1, 0, 0.9, 1.15), None, sizes(4, 7)), {"mode": "linear",
         "coordinate_transformation_mode": "tf_crop_and_resize", "axes": [2, 3], "extrapolation_value": 3.0},
         "crop-and-resize"),
    Case("Resize", (normal("N", 2, 5, 6), scales(0.1, 0, 0.9, 0.7), None, sizes(4, 7)), {"mode": "linear",
         "coordinate_transformation_mode": "tf_crop_and_resize", "axes": [2, 3]}, "crop-at-run-time", runtime=(1,)),
    Case("Resize", (normal("N", 2, 5, 6), None, scales(1, 1, 1.3, 0.7)), {"mode": "linear",
         "coordinate_transformation_mode": "half_pixel_symmetric"}, "linear-symmetric", opset=19),
    Case("Resize", (normal("N", 2, 5, 4), None, None, sizes(8, 7)), {"mode": "linear", "axes": [2, 3],
         "keep_aspect_ratio_policy": "not_larger"}, "keep-aspect-ratio"),
    Case("Resize", (normal("N", 0, 3, 4), None, TWICE), {"mode": "linear"}, "empty"),
    Case("Resize", (normal("N", 2, 3, 4), None, scales(1, 1, 1, 1)), {"mode": "linear"}, "same"),
]  # fmt: skip
