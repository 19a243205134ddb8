"""A small network in torch and in ONNX, with inputs away from its kinks, to compare methods with Captum."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn

from onnxplain import Explainer, native
from onnxplain.methods.smoothgrad import noise_key

from support.architectures.base import CLASSES, Architecture
from support.architectures.export import export, reference


@dataclass(frozen=True)
class Twins:
    """The same weights twice; ``x`` [3,3,16,16] and a class for each."""

    torch: nn.Module
    explainer: Explainer
    x: np.ndarray
    targets: list[int]

    @property
    def tensor(self) -> torch.Tensor:
        return torch.from_numpy(self.x.copy())


def network(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Convolutions, the activation three times, a max pool, a linear layer: photos [N,3,16,16] -> scores."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        activation(),
        nn.Conv2d(8, 12, 3, stride=2, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3),
        activation(),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    )


@cache
def twins(activation: type[nn.Module] = nn.ReLU, batch_size: int = 8) -> Twins:
    torch.manual_seed(3)
    model = network(activation).eval()
    architecture = Architecture("small", lambda: model, (3, 16, 16))
    found = reference(architecture, model, 3)
    explainer = Explainer(export(architecture, model, "torchscript"), batch_size=batch_size)
    return Twins(model, explainer, found.x, found.target.tolist())


def assert_agree(found: np.ndarray, expected: np.ndarray | torch.Tensor, tolerance: float = 1e-4) -> None:
    """To ``tolerance`` of the largest magnitude, which must not be zero."""
    wanted = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert found.shape == wanted.shape
    largest = np.abs(wanted).max()
    assert largest > 0
    assert np.abs(found - wanted).max() <= tolerance * largest


def noise_of(seed: int, samples: int, shape: tuple[int, ...]) -> np.ndarray:
    """The noise that a seed stands for, [samples, ...] for one input of ``shape``."""
    zero = np.zeros(shape, np.float32)
    return np.stack([native.add_noise(zero, 1, noise_key(seed, number, 0)) for number in range(samples)])
