"""What an architecture is, and how its weights are made: random, but at the scale of a trained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CLASSES = 7
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
_LINEAR = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Architecture:
    """A network and what to feed it.

    ``build`` returns a network whose output is the unnormalised score; ``final`` is what the exported
    model applies to it. ``shape`` is one sample's, without the batch axis. ``dynamic`` names the axes
    that the exported model leaves open (0 is the batch), ``other_shape`` is a second shape that it must
    then take. ``vocabulary`` is the number of token ids of a network that reads integers, whose
    embedding module is called ``embedding``: the gradient is taken there. ``class_axis`` is the axis of
    the output that counts classes; other positions are summed.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    final: nn.Module | None = None
    dynamic: tuple[tuple[int, str], ...] = ((0, "batch"),)
    other_shape: tuple[int, ...] | None = None
    vocabulary: int = 0
    class_axis: int = 1

    def model(self) -> nn.Module:
        """The network in evaluation mode, with weights that depend on nothing but this code."""
        torch.manual_seed(0)
        model = self.build()
        _initialise(model)
        if isinstance(model, Adjusted):
            model.adjust()
        _calibrate(model, [self.inputs(8, seed=1000 + k) for k in range(4)])
        return model.eval()

    def inputs(self, batch: int, seed: int, other: bool = False) -> Tensor:
        """A batch of noise images (standard normal) or of random token ids, of ``shape`` or ``other_shape``."""
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, *(self.other_shape if other and self.other_shape is not None else self.shape))
        if self.vocabulary:
            return torch.randint(0, self.vocabulary, shape, generator=generator)
        return torch.randn(shape, generator=generator)


class Adjusted(nn.Module):
    """A network that corrects what random weights would make of it."""

    def adjust(self) -> None:
        raise NotImplementedError


def _initialise(model: nn.Module) -> None:
    """Kaiming weights, biases of either sign, and normalisations that are not the identity."""
    for module in model.modules():
        if isinstance(module, _LINEAR):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, _NORMS):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)


def _calibrate(model: nn.Module, batches: list[Tensor]) -> None:
    """Set every BatchNorm's statistics to what it sees on ``batches``."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = None  # the plain average over the batches
            module.reset_running_stats()
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    act: Callable[[], nn.Module] | None = nn.ReLU,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    padding: int | tuple[int, int] | None = None,
) -> nn.Sequential:
    """Conv without bias, BatchNorm and an activation; the padding keeps the size at stride 1."""
    if padding is None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (height // 2), dilation * (width // 2))
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([act()] if act is not None else []))


class PooledHead(nn.Module):
    """Global average pooling and a linear classifier."""

    def __init__(self, channels: int, classes: int = CLASSES) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(x), 1))
