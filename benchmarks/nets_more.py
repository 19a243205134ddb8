"""More networks of the benchmarks: squeeze-and-excitation, SiLU, HardSwish, channels normalised, dense blocks.

Layer for layer those of the papers and of torchvision, in the manner of :mod:`nets`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from layers import CLASSES, conv


class Squeeze(nn.Module):
    """Squeeze-and-excitation: every channel times a gate made of the means of all channels."""

    def __init__(self, width: int, inner: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, inner, 1), act(), nn.Conv2d(inner, width, 1), gate()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.body(x)


class Inverted(nn.Module):
    """Expansion 1x1, depthwise, squeeze-and-excitation, projection 1x1; a shortcut where the shapes allow."""

    def __init__(
        self, inputs: int, width: int, outputs: int, kernel: int, stride: int, act: type[nn.Module], *squeeze: nn.Module
    ) -> None:
        super().__init__()
        layers = [conv(inputs, width, 1, act=act)] if width != inputs else []
        layers += [conv(width, width, kernel, stride, width, act), *squeeze, conv(width, outputs, 1, act=None)]
        self.body, self.residual = nn.Sequential(*layers), stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


#: Expansion, channels, depth, stride and kernel of the stages.
EFFICIENTNET_B0 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip


def efficientnet_b0() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 32, 3, 2, act=nn.SiLU)]
    inputs = 32
    for expansion, outputs, depth, stride, kernel in EFFICIENTNET_B0:
        for index in range(depth):
            width = inputs * expansion
            squeeze = Squeeze(width, max(1, inputs // 4), nn.SiLU, nn.Sigmoid)
            layers.append(Inverted(inputs, width, outputs, kernel, 1 if index else stride, nn.SiLU, squeeze))
            inputs = outputs
    layers.append(conv(inputs, 1280, 1, act=nn.SiLU))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES))


#: Kernel, width inside, channels, width of squeeze-and-excitation, whether HardSwish, and stride.
MOBILENET_V3 = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 24, 0, 2), (5, 120, 40, 32, 0, 1),
    (5, 120, 40, 32, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 120, 1, 1), (3, 672, 112, 168, 1, 1), (5, 672, 160, 168, 1, 2), (5, 960, 160, 240, 1, 1),
    (5, 960, 160, 240, 1, 1),
)  # fmt: skip


def mobilenet_v3() -> nn.Module:
    """The large one."""
    layers: list[nn.Module] = [conv(3, 16, 3, 2, act=nn.Hardswish)]
    inputs = 16
    for kernel, width, outputs, inner, hard, stride in MOBILENET_V3:
        act = nn.Hardswish if hard else nn.ReLU
        squeeze = [Squeeze(width, inner, nn.ReLU, nn.Hardsigmoid)] if inner else []
        layers.append(Inverted(inputs, width, outputs, kernel, stride, act, *squeeze))
        inputs = outputs
    layers.append(conv(inputs, 960, 1, act=nn.Hardswish))
    head = [nn.Linear(960, 1280), nn.Hardswish(), nn.Linear(1280, CLASSES)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


class Channels(nn.Module):
    """LayerNorm over the channels of [N,C,H,W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Next(nn.Module):
    """Depthwise 7x7, LayerNorm, a perceptron on the channels, a scale of each channel, a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.mlp(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext_t() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), Channels(96)]
    inputs = 96
    for width, depth in ((96, 3), (192, 3), (384, 9), (768, 3)):
        layers += [] if width == inputs else [Channels(inputs), nn.Conv2d(inputs, width, 2, 2)]
        layers += [Next(width) for _ in range(depth)]
        inputs = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(768, eps=1e-6), nn.Linear(768, CLASSES)]
    return nn.Sequential(*layers, *head)


class Dense(nn.Module):
    """BatchNorm, ReLU and 1x1, BatchNorm, ReLU and 3x3; its 32 channels come behind those of its input."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), conv(inputs, 128, 1), nn.Conv2d(128, 32, 3, padding=1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], 1)


def densenet_121() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for depth in (6, 12, 24, 16):
        for _ in range(depth):
            layers.append(Dense(inputs))
            inputs += 32
        layers += [nn.BatchNorm2d(inputs), nn.ReLU()]
        if depth != 16:
            layers += [nn.Conv2d(inputs, inputs // 2, 1, bias=False), nn.AvgPool2d(2, 2)]
            inputs //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


class Grouped(nn.Module):
    """1x1, 3x3 in groups, squeeze-and-excitation, 1x1, and a shortcut."""

    def __init__(self, inputs: int, width: int, group: int, stride: int) -> None:
        super().__init__()
        squeeze = Squeeze(width, inputs // 4, nn.ReLU, nn.Sigmoid)
        layers = [conv(inputs, width, 1), conv(width, width, 3, stride, width // group), squeeze]
        self.body = nn.Sequential(*layers, conv(width, width, 1, act=None))
        same = stride == 1 and inputs == width
        self.shortcut = nn.Identity() if same else conv(inputs, width, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def regnet_y_800mf() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 32, 3, 2)]
    inputs = 32
    for width, depth in ((64, 1), (144, 3), (320, 8), (784, 2)):
        for index in range(depth):
            layers.append(Grouped(inputs, width, 16, 1 if index else 2))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


NETS: dict[str, Callable[[], nn.Module]] = {
    "efficientnet_b0": efficientnet_b0,
    "mobilenet_v3": mobilenet_v3,
    "convnext_t": convnext_t,
    "densenet_121": densenet_121,
    "regnet_y_800mf": regnet_y_800mf,
}
