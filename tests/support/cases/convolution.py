"""Cases of Conv and ConvTranspose; the grid of their geometry is in ``test_convolution_grid.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .base import Case, normal

_CONV = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


def conv(pads: Sequence[int] = (), **options: Any) -> Callable[..., Tensor]:
    """torch's convolution with ONNX's pads (all heads, then all tails)."""

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        n = x.dim() - 2
        pairs = [p for axis in reversed(range(n)) for p in (pads[axis], pads[axis + n])] if pads else [0, 0]
        return _CONV[n - 1](functional.pad(x, pairs), w, b, **options)

    return run


def transposed(pads: Sequence[int] = (), **options: Any) -> Callable[..., Tensor]:
    """torch's transposed convolution, then cut by ONNX's pads (all heads, then all tails)."""

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        n = x.dim() - 2
        y = _TRANSPOSED[n - 1](x, w, b, **options)
        for axis in range(n if pads else 0):
            y = y.narrow(axis + 2, pads[axis], y.shape[axis + 2] - pads[axis] - pads[axis + n])
        return y

    return run


_RNG = np.random.default_rng(7)
_WEIGHT = _RNG.standard_normal((4, 2, 3, 2))
_BIAS = _RNG.standard_normal(4)
_GROUPS = "the reference evaluator cannot run groups of more than one channel"

CASES = [
    Case("Conv", (normal("N", 2, 6, 5), normal(4, 2, 3, 2), normal(4)), name="bias", torch=conv()),
    Case("Conv", (normal("N", 2, 6, 5), _WEIGHT, _BIAS), name="constant-weight",
         torch=lambda x: conv()(x, torch.tensor(_WEIGHT), torch.tensor(_BIAS))),
    Case("Conv", (normal("N", 3, 7), normal(2, 3, 3)), {"strides": [2], "pads": [1, 0]}, "1d",
         conv([1, 0], stride=2)),
    Case("Conv", (normal("N", 2, 4, 5, 6), normal(3, 2, 2, 3, 1), normal(3)),
         {"strides": [1, 2, 3], "pads": [1, 1, 0, 0, 2, 1], "dilations": [2, 1, 1]}, "3d",
         conv([1, 1, 0, 0, 2, 1], stride=(1, 2, 3), dilation=(2, 1, 1))),
    Case("Conv", (normal("N", 2, 8, 9), normal(3, 2, 3, 3)),
         {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [2, 0, 1, 3], "dilations": [1, 2]}, "everything",
         conv([2, 0, 1, 3], stride=(2, 3), dilation=(1, 2))),
    Case("Conv", (normal("N", 4, 6, 7), normal(6, 2, 3, 3), normal(6)),
         {"group": 2, "strides": [2, 2], "pads": [1, 1, 1, 1]}, "groups", conv([1, 1, 1, 1], stride=2, groups=2)),
    Case("Conv", (normal("N", 3, 7, 6), normal(3, 1, 3, 3)), {"group": 3, "pads": [1, 1, 1, 1]}, "depthwise",
         conv([1, 1, 1, 1], groups=3)),
    Case("Conv", (normal("N", 3, 8, 7), normal(6, 1, 3, 2)), {"group": 3, "strides": [2, 2], "dilations": [2, 1]},
         "depthwise-multiplier", conv(stride=2, dilation=(2, 1), groups=3)),
    Case("Conv", (normal("N", 2, 3, 3), normal(2, 2, 1, 1)), {"pads": [1, 1, 1, 1]}, "pads-beyond-kernel",
         conv([1, 1, 1, 1])),
    Case("Conv", (normal("N", 2, 3), normal(2, 2, 2)), {"pads": [4, 5], "strides": [3]}, "windows-of-padding",
         conv([4, 5], stride=3)),
    Case("Conv", (normal("N", 2, 8, 8), normal(3, 2, 1, 1)), {"strides": [3, 3]}, "unreached-tail", conv(stride=3)),
    Case("Conv", (normal("N", 1, 3, 3), normal(1, 1, 3, 3)), name="one-position", torch=conv()),
    Case("Conv", (normal("N", 1, 1, 1), normal(2, 1, 1, 1)), name="one-pixel", torch=conv()),
    Case("Conv", (normal(0, 2, 4, 4), normal(3, 2, 3, 3, wrt=False)), name="empty-batch", torch=conv()),
    # auto_pad
    Case("Conv", (normal("N", 2, 6, 5), normal(3, 2, 3, 3)), {"auto_pad": "VALID", "strides": [2, 1]}, "valid",
         conv(stride=(2, 1))),
    Case("Conv", (normal("N", 2, 6, 7), normal(3, 2, 3, 3)), {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
         "same-upper", conv([0, 1, 1, 1], stride=2)),
    Case("Conv", (normal("N", 2, 6, 7), normal(3, 2, 3, 3)), {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
         "same-lower", conv([1, 1, 0, 1], stride=2)),
    Case("Conv", (normal("N", 2, 6, 7), normal(3, 2, 1, 2)), {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
         "same-short-kernel", conv([0, 0, 0, 1], stride=2)),
    Case("Conv", (normal("N", 2, "H6", "W7"), normal(3, 2, 2, 4)), {"auto_pad": "SAME_UPPER"}, "same-stride-1-symbolic",
         conv([0, 1, 1, 2])),
    *(
        Case("Conv", (normal("N", 4, f"H{height}", f"W{width}"), normal(4, 2, 3, 4)),
             {"auto_pad": auto_pad, "strides": [2, 3], "group": 2}, f"{auto_pad.lower()}-symbolic-{height}-{width}",
             conv(pads, stride=(2, 3), groups=2))
        for height, width, auto_pad, pads in [
            (6, 7, "SAME_UPPER", [0, 1, 1, 2]), (7, 8, "SAME_UPPER", [1, 1, 1, 1]), (7, 9, "SAME_UPPER", [1, 0, 1, 1]),
            (6, 7, "SAME_LOWER", [1, 2, 0, 1]), (7, 8, "SAME_LOWER", [1, 1, 1, 1]), (7, 9, "SAME_LOWER", [1, 1, 1, 0]),
        ]
    ),
    Case("Conv", (normal("N", 2, "H6", 5), normal(3, 2, 1, 1)), {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
         "same-short-kernel-symbolic", conv(stride=2)),
    # symbolic extents
    Case("Conv", (normal("N", 2, "H6", "W7"), normal(3, 2, 3, 3), normal(3)), {"pads": [1, 2, 0, 1]}, "symbolic",
         conv([1, 2, 0, 1])),
    Case("Conv", (normal("N", 2, "H7", "W8"), normal(3, 2, 2, 3)),
         {"strides": [2, 3], "pads": [1, 0, 1, 2], "dilations": [1, 2]}, "symbolic-strides",
         conv([1, 0, 1, 2], stride=(2, 3), dilation=(1, 2))),
    Case("Conv", (normal("N", 2, "H7", 8), normal(3, 2, 1, 1)), {"strides": [3, 2]}, "one-symbolic-extent",
         conv(stride=(3, 2))),
    Case("Conv", (normal("N", 4, "H9"), normal(4, 2, 2)), {"strides": [3], "group": 2, "auto_pad": "VALID"},
         "1d-symbolic-groups", conv(stride=3, groups=2)),
    Case("Conv", (normal("N", 2, 7, 7), normal(3, 2, 3, 3)), {"strides": [2, 2], "pads": [1, 1, 1, 1]}, "opset-22",
         conv([1, 1, 1, 1], stride=2), opset=22),

    Case("ConvTranspose", (normal("N", 2, 4, 3), normal(2, 3, 3, 2), normal(3)), name="bias", torch=transposed()),
    Case("ConvTranspose", (normal("N", 2, 5), normal(2, 3, 3)), {"strides": [2], "pads": [1, 0]}, "1d",
         transposed([1, 0], stride=2)),
    Case("ConvTranspose", (normal("N", 2, 3, 2, 3), normal(2, 2, 2, 3, 1)),
         {"strides": [1, 2, 2], "pads": [1, 0, 0, 0, 1, 0], "dilations": [2, 1, 1]}, "3d",
         transposed([1, 0, 0, 0, 1, 0], stride=(1, 2, 2), dilation=(2, 1, 1))),
    Case("ConvTranspose", (normal("N", 2, 4, 3), normal(2, 3, 3, 3), normal(3)),
         {"strides": [2, 3], "pads": [1, 0, 0, 2], "output_padding": [1, 2], "dilations": [1, 2]}, "everything",
         transposed([1, 0, 0, 2], stride=(2, 3), output_padding=(1, 2), dilation=(1, 2))),
    Case("ConvTranspose", (normal("N", 4, 3, 4), normal(4, 3, 3, 2), normal(6)),
         {"group": 2, "strides": [2, 2], "output_padding": [1, 0]}, "groups",
         transposed(stride=2, groups=2, output_padding=(1, 0)), reference=False, note=_GROUPS),
    Case("ConvTranspose", (normal("N", 3, 3, 4), normal(3, 1, 4, 4)),
         {"group": 3, "strides": [2, 2], "pads": [1, 1, 1, 1]}, "depthwise",
         transposed([1, 1, 1, 1], stride=2, groups=3)),
    Case("ConvTranspose", (normal("N", 2, 3, 3), normal(2, 2, 1, 2)), {"strides": [3, 4]}, "kernel-below-stride",
         transposed(stride=(3, 4))),
    Case("ConvTranspose", (normal("N", 2, "H4", "W3"), normal(2, 3, 3, 3)),
         {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, "symbolic",
         transposed([1, 1, 1, 1], stride=2, output_padding=1)),
    Case("ConvTranspose", (normal("N", 4, "H4", "W3"), normal(4, 1, 2, 3)), {"strides": [2, 3], "group": 2},
         "symbolic-groups", transposed(stride=(2, 3), groups=2), reference=False, note=_GROUPS),
    Case("ConvTranspose", (normal("N", 2, 4, 3), normal(2, 3, 3, 3)), {"auto_pad": "VALID", "strides": [2, 1]},
         "valid", transposed(stride=(2, 1))),
    *(
        Case("ConvTranspose", (normal("N", 2, *extents), normal(2, 3, 3, 4)),
             {"auto_pad": auto_pad, "strides": [2, 3]}, f"{auto_pad.lower()}{'' if extents == (4, 3) else '-symbolic'}",
             transposed(pads, stride=(2, 3)))
        for extents in ((4, 3), ("H4", "W3"))
        for auto_pad, pads in [("SAME_UPPER", [0, 0, 1, 1]), ("SAME_LOWER", [1, 1, 0, 0])]
    ),
    Case("ConvTranspose", (normal("N", 2, "H4", "W3"), normal(2, 3, 3, 4)),
         {"auto_pad": "SAME_LOWER", "strides": [2, 3], "output_padding": [1, 2]}, "same_lower-output_padding",
         transposed([1, 2, 1, 1], stride=(2, 3), output_padding=(1, 2)),
         note="symbolic, because shape inference adds the output_padding to the extent of SAME"),
    *(
        Case("ConvTranspose", (normal("N", 2, *extents), normal(2, 3, 3, 3)),
             {"auto_pad": auto_pad, "strides": [2, 2], "output_shape": shape},
             f"output_shape-{auto_pad.lower()}-{shape[0]}{'' if extents == (4, 3) else '-symbolic'}",
             transposed(pads, stride=2), reference=auto_pad != "NOTSET",
             note="the reference evaluator takes no pads from output_shape unless auto_pad is SAME")
        for extents in ((4, 3), ("H4", "W3"))
        for auto_pad, shape, pads in [
            ("NOTSET", [8, 7], [1, 0, 0, 0]), ("NOTSET", [7, 5], [1, 1, 1, 1]),
            ("SAME_UPPER", [8, 5], [0, 1, 1, 1]), ("SAME_LOWER", [8, 6], [1, 1, 0, 0]),
        ]
    ),
    Case("ConvTranspose", (normal("N", 2, 4, 3), normal(2, 3, 3, 3)),
         {"strides": [2, 2], "output_shape": [8, 6], "pads": [0, 1, 1, 0]}, "output_shape-overrides-pads",
         transposed([1, 1, 0, 0], stride=2), reference=False,
         note="the reference evaluator takes the pads, ONNX Runtime and the standard do not"),
    *(
        Case("ConvTranspose", (normal("N", 2, *extents), normal(2, 3, 3)),
             {"strides": [3], "output_shape": [14]}, f"output_shape-longer{'' if extents == (4,) else '-symbolic'}",
             transposed(stride=3, output_padding=2))
        for extents in ((4,), ("H4",))
    ),
]  # fmt: skip
