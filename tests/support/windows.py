"""Sliding windows in torch for every geometry that ONNX has, also those that torch's pooling lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Geometry:
    """ONNX's attributes; ``pads`` holds all heads, then all tails."""

    kernel: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[int]
    dilations: Sequence[int]
    ceil: bool = False

    def windows(self, x: Tensor, fill: float, behind: float) -> Tensor:
        """[N, C, positions, taps]: what every window sees; ``fill`` in the padding, ``behind`` behind it.

        There are (extent + pads - reach) / stride + 1 positions, rounded up with ``ceil``, without a
        window that would start behind image and head.
        """
        n = len(self.kernel)
        heads, tails = self.pads[:n], self.pads[n:]
        extents = x.shape[2:]
        x = functional.pad(x, [p for axis in reversed(range(n)) for p in (heads[axis], tails[axis])], value=fill)
        x = functional.pad(x, [p for axis in reversed(range(n)) for p in (0, self.strides[axis])], value=behind)
        for axis, (extent, stride) in enumerate(zip(extents, self.strides)):
            reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
            room = extent + heads[axis] + tails[axis] - reach
            positions = (-(-room // stride) if self.ceil else room // stride) + 1
            if self.ceil and (positions - 1) * stride >= extent + heads[axis]:
                positions -= 1
            taps = x.unfold(axis + 2, reach, stride).narrow(axis + 2, 0, positions)
            x = taps[..., :: self.dilations[axis]]
        return x.flatten(n + 2)

    def maximum(self) -> Callable[[Tensor], Tensor]:
        """Max pooling."""
        return lambda x: self.windows(x, -torch.inf, -torch.inf).max(-1).values

    def average(self, padded: bool = False) -> Callable[[Tensor], Tensor]:
        """Average pooling: the sum by the number of taps in the image (``padded``: in image and pads)."""

        def run(x: Tensor) -> Tensor:
            counts = self.windows(torch.ones_like(x), float(padded), 0.0).sum(-1)
            return self.windows(x, 0.0, 0.0).sum(-1) / counts

        return run

    def norm(self, order: int) -> Callable[[Tensor], Tensor]:
        """The p-norm of every window."""
        return lambda x: self.windows(x.abs() ** order, 0.0, 0.0).sum(-1) ** (1 / order)

    def attributes(self) -> dict[str, Sequence[int] | int]:
        """As ONNX names them."""
        given: dict[str, Sequence[int] | int] = {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "pads": self.pads,
            "dilations": self.dilations,
        }
        return {**given, "ceil_mode": 1} if self.ceil else given
