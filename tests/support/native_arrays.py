"""Arrays for the tests of the C++ kernels: every layout that NumPy can express, filled with awkward numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

FLOATS = (np.float16, np.float32, np.float64)


def gradients(shape: tuple[int, ...], dtype: type, seed: int) -> npt.NDArray[Any]:
    """Finite numbers of either sign over the type's range, with zeros, minus zeros and subnormals among them."""
    rng = np.random.default_rng(seed)
    small, large = (-24, 15) if dtype is np.float16 else (-149, 127)
    exponents = rng.integers(small, large, endpoint=True, size=shape) * rng.integers(0, 2, size=())
    scale = np.exp2(exponents.astype(np.float64))
    values: npt.NDArray[Any] = (rng.uniform(-1.0, 1.0, size=shape) * scale).astype(dtype)
    return np.where(rng.random(shape) < 0.1, dtype(-0.0), values)


@dataclass(frozen=True)
class Layout:
    """How an array of a wanted shape lies in memory: per axis a step (0 repeats one element), an order of axes,
    and an offset in bytes that breaks the alignment."""

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    order: tuple[int, ...]
    offset: int
    writable: bool

    def view(self, dtype: Any, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`values` (of the wanted shape) stored in this layout; along an axis of step 0 only its first element."""
        stored = [min(extent, 1) if step == 0 else extent * abs(step) for extent, step in zip(self.shape, self.steps)]
        size = int(np.prod(stored)) * np.dtype(dtype).itemsize
        raw = np.full(size + self.offset, 0xFF, np.uint8)[self.offset :]  # NaN between the values, if floats
        base = raw.view(dtype).reshape([stored[axis] for axis in self.order]).transpose(np.argsort(self.order))
        window = base[tuple(slice(None, None, step or None) for step in self.steps)]
        window[...] = values[tuple(slice(0, 1) if step == 0 else slice(None) for step in self.steps)]
        view = np.lib.stride_tricks.as_strided(
            window, self.shape, [0 if step == 0 else s for step, s in zip(self.steps, window.strides)]
        )
        if not self.writable:
            view.flags.writeable = False
        return view


@st.composite
def layouts(draw: st.DrawFn, *, rank: st.SearchStrategy[int], last: int | None = None) -> Layout:
    """Layouts of any order and steps; the extent of the last axis may be given."""
    axes = draw(rank)
    extents = draw(st.lists(st.sampled_from((0, 1, 2, 3, 4, 5, 7, 9, 17, 18, 34, 51)), min_size=axes, max_size=axes))
    while int(np.prod(extents)) > 20_000:
        extents[int(np.argmax(extents))] = 3
    if last is not None:
        extents[-1] = last
    plain = draw(st.booleans())
    steps = [1] * axes if plain else draw(st.lists(st.sampled_from((1, 1, 2, -1, -3, 0)), min_size=axes, max_size=axes))
    order = tuple(range(axes)) if draw(st.booleans()) else tuple(draw(st.permutations(range(axes))))
    return Layout(tuple(extents), tuple(steps), order, draw(st.sampled_from((0, 0, 1))), draw(st.booleans()))
