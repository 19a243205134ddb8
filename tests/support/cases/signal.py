"""Cases of discrete Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .base import Case, normal

AXIS = np.array(1)


def complex_of(x: torch.Tensor) -> torch.Tensor:
    return torch.complex(x[..., 0], x[..., 1] if x.shape[-1] == 2 else torch.zeros_like(x[..., 0]))


def fft(function: Callable[..., torch.Tensor], length: int | None = None, axis: int = 1) -> Any:
    return lambda x: torch.view_as_real(function(complex_of(x), n=length, dim=axis))


def rfft(length: int | None = None, axis: int = 1) -> Any:
    return lambda x: torch.view_as_real(torch.fft.rfft(x[..., 0], n=length, dim=axis))


def irfft(length: int | None = None) -> Any:
    def run(x: torch.Tensor) -> torch.Tensor:
        n = 2 * (x.shape[1] - 1) if length is None else length
        return torch.fft.irfft(complex_of(x), n=n, dim=1).unsqueeze(-1)

    return run


def frames(step: int, length: int, window: torch.Tensor | None = None, onesided: bool = True) -> Any:
    def run(x: torch.Tensor, *drawn: torch.Tensor) -> torch.Tensor:
        cut = x.reshape(x.shape[0], -1).unfold(1, length, step) * (drawn[0] if drawn else 1.0)
        transform = torch.fft.rfft if onesided else torch.fft.fft
        return torch.view_as_real(transform(cut, dim=2))

    return run


CASES = [
    Case("DFT", (normal("N", 6, 2), None, AXIS), name="complex", opset=20, torch=fft(torch.fft.fft)),
    Case("DFT", (normal("N", 5, 1), None, AXIS), name="real-odd", opset=20, torch=fft(torch.fft.fft)),
    Case("DFT", (normal("N", 5, 2),), name="default-axis", opset=20, torch=fft(torch.fft.fft)),
    Case("DFT", (normal("N", 5, 3, 2), None, AXIS), name="run-time-axis", opset=20, runtime=(2,),
         torch=fft(torch.fft.fft)),
    Case("DFT", (normal("N", 6, 2), None, AXIS), {"inverse": 1}, "inverse", opset=20, torch=fft(torch.fft.ifft)),
    Case("DFT", (normal("N", 6, 1), None, AXIS), {"inverse": 1}, "inverse-real", opset=20,
         torch=fft(torch.fft.ifft)),
    Case("DFT", (normal("N", 6, 1), None, AXIS), {"onesided": 1}, "onesided-even", opset=20, torch=rfft()),
    Case("DFT", (normal("N", 5, 1), None, AXIS), {"onesided": 1}, "onesided-odd", opset=20, torch=rfft()),
    Case("DFT", (normal("N", 5, 2), np.array(8), AXIS), name="padded", opset=20, torch=fft(torch.fft.fft, 8)),
    Case("DFT", (normal("N", 7, 2), np.array(4), AXIS), name="cut", opset=20, torch=fft(torch.fft.fft, 4)),
    Case("DFT", (normal("N", 7, 1), np.array(4), AXIS), {"onesided": 1}, "onesided-cut", opset=20, runtime=(1,),
         torch=rfft(4)),
    Case("DFT", (normal("N", 4, 2), None, AXIS), {"inverse": 1, "onesided": 1}, "half-inverse", opset=20,
         torch=irfft()),
    Case("DFT", (normal("N", 4, 2), np.array(7), AXIS), {"inverse": 1, "onesided": 1}, "half-inverse-odd", opset=20,
         torch=irfft(7)),
    Case("DFT", (normal("N", 6, 1),), {"onesided": 1}, "attribute-axis", opset=18, torch=rfft()),
    Case("DFT", (normal("N", 3, 6, 2),), {"axis": 2}, "attribute-last-axis", opset=18,
         torch=fft(torch.fft.fft, axis=2)),
    Case("STFT", (normal("N", 16, 1), np.array(4), None, np.array(8)), name="overlapping", torch=frames(4, 8)),
    Case("STFT", (normal("N", 17, 1), np.array(5), None, np.array(4)), name="gaps", torch=frames(5, 4)),
    Case("STFT", (normal("N", 16, 1), np.array(3), normal(8)), name="window", torch=frames(3, 8)),
    Case("STFT", (normal("N", 16, 1), np.array(4), None, np.array(8)), {"onesided": 0}, "twosided",
         torch=frames(4, 8, onesided=False)),
    Case("STFT", (normal("N", 16, 1), np.array(4), normal(8), np.array(8)), name="newer", opset=22,
         torch=frames(4, 8)),
]  # fmt: skip
