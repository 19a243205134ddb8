"""Networks of depthwise convolutions: MobileNetV2 and V3, EfficientNet, ShuffleNet, TensorFlow padding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import CLASSES, Architecture, PooledHead, conv_norm

Activation = Callable[[], nn.Module]


class SqueezeExcite(nn.Module):
    """Channels scaled by a gate computed from their means (Hu et al. 2017)."""

    def __init__(self, channels: int, act: Activation, gate: Activation) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


class InvertedResidual(nn.Module):
    """1x1 expand, depthwise, optional squeeze-excite, linear 1x1; added to the input where shapes agree."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        expand: int,
        act: Activation,
        excite: Callable[[int], nn.Module] | None,
    ) -> None:
        super().__init__()
        hidden = inputs * expand
        layers: list[nn.Module] = [conv_norm(inputs, hidden, 1, act)] if expand > 1 else []
        layers.append(conv_norm(hidden, hidden, kernel, act, stride=stride, groups=hidden))
        if excite is not None:
            layers.append(excite(hidden))
        layers.append(conv_norm(hidden, outputs, 1, None))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class MobileNet(nn.Module):
    """A stem, inverted residuals, a wide 1x1 convolution, and a classifier of one or two layers.

    ``blocks``: outputs, kernel, stride, expansion, and whether it has squeeze-excite.
    """

    def __init__(
        self,
        blocks: list[tuple[int, int, int, int, bool]],
        act: Activation,
        gate: Activation = nn.Sigmoid,
        squeeze: Activation = nn.ReLU,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        excite = partial(SqueezeExcite, act=squeeze, gate=gate)
        layers: list[nn.Module] = [conv_norm(3, 8, 3, act, stride=2)]
        channels = 8
        for outputs, kernel, stride, expand, excited in blocks:
            layers.append(InvertedResidual(channels, outputs, kernel, stride, expand, act, excite if excited else None))
            channels = outputs
        self.features = nn.Sequential(*layers, conv_norm(channels, 32, 1, act))
        self.head: nn.Module = PooledHead(32)
        if hidden:
            self.head = nn.Sequential(PooledHead(32, hidden), act(), nn.Dropout(0.2), nn.Linear(hidden, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, the other half is convolved, then the halves are interleaved (Ma et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, half = stride, outputs // 2
        through = inputs if stride > 1 else half
        self.left: nn.Module = nn.Identity()
        if stride > 1:
            self.left = nn.Sequential(
                conv_norm(inputs, inputs, 3, None, stride=stride, groups=inputs), conv_norm(inputs, half, 1)
            )
        self.right = nn.Sequential(
            conv_norm(through, half, 1),
            conv_norm(half, half, 3, None, stride=stride, groups=half),
            conv_norm(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = (x, x) if self.stride > 1 else x.chunk(2, dim=1)
        return channel_shuffle(torch.cat([self.left(left), self.right(right)], 1), 2)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width).transpose(1, 2)
    return x.reshape(batch, channels, height, width)


class ShuffleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_norm(3, 8, 3, stride=2),
            nn.MaxPool2d(3, 2, 1),
            ShuffleUnit(8, 16, 2),
            ShuffleUnit(16, 16, 1),
            ShuffleUnit(16, 32, 2),
            ShuffleUnit(32, 32, 1),
        )
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean([2, 3]))


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's SAME padding: the output has ceil(size / stride) positions, an odd pixel goes last."""
    pads: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        pad = max(((size + stride - 1) // stride - 1) * stride + kernel - size, 0)
        pads += [pad // 2, pad - pad // 2]
    return F.pad(x, pads, value=value)


class SameConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = conv_norm(inputs, outputs, kernel, nn.ReLU6, stride=stride, groups=groups, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad_same(x, self.kernel, self.stride))


class SamePaddingNet(nn.Module):
    """Strided convolutions and pools that read one more pixel at the end than at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 8, 3, 2)
        self.body = nn.Sequential(SameConv(8, 8, 5, 2, groups=8), SameConv(8, 16, 1, 1), SameConv(16, 24, 3, 2))
        self.head = PooledHead(24)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.max_pool2d(pad_same(x, 2, 1, value=float("-inf")), 2, 1)
        return self.head(self.body(x))


_V2 = [(8, 3, 1, 1, False), (12, 3, 2, 4, False), (12, 3, 1, 4, False), (16, 3, 2, 4, False), (16, 3, 1, 4, False)]
_V3 = [(8, 3, 1, 1, True), (12, 3, 2, 3, False), (16, 5, 2, 4, True), (16, 5, 1, 4, True)]
_B0 = [(8, 3, 1, 1, True), (12, 3, 2, 4, True), (12, 3, 1, 4, True), (16, 5, 2, 4, True), (16, 5, 1, 4, True)]

ARCHITECTURES = [
    Architecture("mobilenet_v2", partial(MobileNet, _V2, nn.ReLU6), (3, 64, 64)),
    Architecture("mobilenet_v3", partial(MobileNet, _V3, nn.Hardswish, gate=nn.Hardsigmoid, hidden=24), (3, 64, 64)),
    Architecture("efficientnet", partial(MobileNet, _B0, nn.SiLU, squeeze=nn.SiLU), (3, 64, 64)),
    Architecture("shufflenet", ShuffleNet, (3, 64, 64)),
    Architecture("same_padding", SamePaddingNet, (3, 64, 50)),
]
