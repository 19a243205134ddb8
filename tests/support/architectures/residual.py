"""Residual networks: basic blocks (ResNet-18), bottlenecks (ResNet-50), groups and dilation (ResNeXt)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from .base import CLASSES, Architecture, PooledHead, conv_norm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2015)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, groups: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(inputs, width, 3, stride=stride, dilation=dilation), conv_norm(width, width, 3, None)
        )
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (grouped in ResNeXt, dilated in segmentation backbones), 1x1 to four times the width."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, groups: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(inputs, width, 1),
            conv_norm(width, width, 3, stride=stride, groups=groups, dilation=dilation),
            conv_norm(width, 4 * width, 1, None),
        )
        self.shortcut = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return conv_norm(inputs, outputs, 1, None, stride=stride)


class ResNet(nn.Module):
    """Stem 7x7 stride 2, 3x3 max pool, stages of blocks, pooled linear head.

    ``stages``: per stage the width, number of blocks, stride and dilation of its first block.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        stages: list[tuple[int, int, int, int]],
        *,
        stem: int = 8,
        groups: int = 1,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, stem, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
        channels = stem
        for width, count, stride, dilation in stages:
            for index in range(count):
                layers.append(block(channels, width, stride if index == 0 else 1, groups, dilation))
                channels = block.expansion * width
        self.features = nn.Sequential(*layers)
        self.head = PooledHead(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


_BASIC = [(8, 2, 1, 1), (16, 2, 2, 1), (24, 2, 2, 1), (32, 2, 2, 1)]
_BOTTLENECK = [(4, 2, 1, 1), (8, 2, 2, 1), (12, 2, 2, 1), (16, 1, 2, 1)]
_DILATED = [(8, 2, 1, 1), (16, 2, 2, 1), (24, 1, 1, 2), (24, 1, 1, 4)]
_OPEN = ((0, "batch"), (2, "height"), (3, "width"))

ARCHITECTURES = [
    Architecture("resnet18", partial(ResNet, BasicBlock, _BASIC), (3, 64, 64)),
    Architecture(
        "resnet18_any_size",
        partial(ResNet, BasicBlock, _BASIC),
        (3, 63, 50),
        dynamic=_OPEN,
        other_shape=(3, 48, 69),
    ),
    Architecture("resnet50", partial(ResNet, Bottleneck, _BOTTLENECK), (3, 64, 64)),
    Architecture("resnext_dilated", partial(ResNet, Bottleneck, _DILATED, groups=4), (3, 64, 48)),
]
