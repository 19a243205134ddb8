"""The compiled module itself refuses to work with no thread at all; it used to return what was never computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxplain import _native

ISA = _native.available_instruction_sets()[0]
X = np.ones((2, 3, 4, 5), np.float32)


def saliency(threads: int) -> np.ndarray:
    out = np.zeros((2, 4, 5), np.float32)
    _native.saliency(X, 1, "none", 99.0, out, threads, ISA)
    return out


def accumulate(threads: int) -> np.ndarray:
    totals = np.zeros(X.shape[1:])
    _native.accumulate(X, totals, None, threads, ISA)
    return totals


def overlay(threads: int) -> np.ndarray:
    out = np.zeros((2, 4, 5, 3), np.uint8)
    colours = np.full((256, 3), 7, np.uint8)
    _native.overlay(np.ones((2, 4, 5), np.float32), None, colours, 1.0, False, out, threads, ISA)
    return out


def add_noise(threads: int) -> np.ndarray:
    out = np.zeros_like(X)
    _native.add_noise(X, 0.1, 3, out, threads, ISA)
    return out


@pytest.mark.parametrize("kernel", [saliency, accumulate, overlay, add_noise])
def test_no_thread_is_refused(kernel: Callable[[int], np.ndarray]) -> None:
    assert kernel(1).all()
    with pytest.raises(ValueError, match="threads is 0; at least one thread has to do the work"):
        kernel(0)
