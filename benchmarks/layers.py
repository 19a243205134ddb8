"""What the networks of the benchmarks are made of."""

from __future__ import annotations

from torch import nn

CLASSES = 1000


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU
) -> nn.Sequential:
    """Convolution that keeps the size at stride 1, BatchNorm, activation."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs), *([] if act is None else [act()]))
