"""Threads of the compiled module: none at all is refused, which returned what was never computed; many callers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from onnxplain import _native

ISA = _native.available_instruction_sets()[0]
#: Large enough that every kernel has work for several threads.
X = 1 + np.random.default_rng(0).random((8, 3, 120, 160), np.float32)
MAPS = X[:, 0] - 1


def saliency(threads: int) -> np.ndarray:
    out = np.zeros_like(MAPS)
    _native.saliency(X, 1, "none", 99.0, out, threads, ISA)
    return out


def accumulate(threads: int) -> np.ndarray:
    totals = np.zeros(X.shape[1:])
    _native.accumulate(X, totals, None, threads, ISA)
    return totals


def overlay(threads: int) -> np.ndarray:
    out = np.zeros((*MAPS.shape, 3), np.uint8)
    colours = np.full((256, 3), 7, np.uint8)
    _native.overlay(MAPS, None, colours, 1.0, False, out, threads, ISA)
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


@pytest.mark.parametrize("kernel", [saliency, accumulate, overlay, add_noise])
def test_many_callers_share_what_they_read(kernel: Callable[[int], np.ndarray]) -> None:
    """Each caller has its own output and threads of its own; ``sanitize.sh thread`` looks for races here."""
    expected = kernel(1)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(kernel, [1, 2, 3, 4] * 8))
    assert len(results) == 32
    for result in results:
        np.testing.assert_array_equal(result, expected)
