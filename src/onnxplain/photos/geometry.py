"""Where every pixel of the model's input came from, and the way back to the photo.

All coordinates are continuous: pixel ``i`` covers ``[i, i+1)``, so its centre is ``i + 0.5``. Resizing maps
the photo ``[0,H) x [0,W)`` onto ``[0,h) x [0,w)``; the crop (or the padding) then shifts by ``offset``::

    model_y = photo_y * h / H - offset_y
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


#: Share of the photo's longer side in which a picture of a map fades out at the edge of the crop.
_FADING = 1 / 48


@dataclass(frozen=True)
class Geometry:
    """The resize and crop of one photo; every pair is (height, width) or (y, x).

    ``photo`` is the photo's size, ``resized`` its size after resizing, ``canvas`` the model's input size,
    ``offset`` the position in the resized photo of the canvas' first pixel (negative: padding).
    """

    photo: Size
    resized: Size
    offset: Size
    canvas: Size

    @property
    def crop_box(self) -> tuple[float, float, float, float]:
        """(top, left, bottom, right) of what the model saw, in the photo's pixels, clipped to the photo."""
        edges = []
        for extents in ((0, 0), self.canvas):
            for axis in (0, 1):
                edge = (self.offset[axis] + extents[axis]) * self.photo[axis] / self.resized[axis]
                edges.append(min(max(edge, 0.0), float(self.photo[axis])))
        top, left, bottom, right = edges
        return top, left, bottom, right

    def fading(self) -> NDArray[np.float32]:
        """Return weights over the photo, float32 [H,W], which fade out where the crop ends inside the photo.

        They are for display: a map that ends at the edge of the crop would be seen as an edge of the object.
        """
        top, left, bottom, right = self.crop_box
        width = max(self.photo) * _FADING
        axes = []
        for extent, low, high in ((self.photo[0], top, bottom), (self.photo[1], left, right)):
            centre = np.arange(extent, dtype=np.float32) + 0.5
            weight = np.ones(extent, np.float32)
            if low > 0:
                weight = np.minimum(weight, (centre - low) / width)
            if high < extent:
                weight = np.minimum(weight, (high - centre) / width)
            axes.append(np.clip(weight, 0, 1))
        faded: NDArray[np.float32] = np.outer(*axes).astype(np.float32)
        return faded

    def to_photo(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return a map [h,w] over the model's input as float32 [H,W] over the photo.

        The map may be coarser than the input (7x7 for Grad-CAM). Values are interpolated linearly, and
        averaged (triangle filter) where the photo has fewer pixels than the map, so none leaves the range
        of the map. A photo pixel that the model did not see is 0, one at the edge of the crop gets the share
        that was seen.
        """
        rows, columns = (
            _Resampling(
                outputs=self.photo[axis],
                inputs=values.shape[axis],
                step=self.resized[axis] / self.photo[axis] * values.shape[axis] / self.canvas[axis],
                start=-self.offset[axis] * values.shape[axis] / self.canvas[axis],
            )
            for axis in (0, 1)
        )
        return _resample(values, rows, columns)

    def to_model(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return a map [H,W] over the photo (a mask, say) as float32 [h,w] over the model's input; padding is 0."""
        rows, columns = (
            _Resampling(
                outputs=self.canvas[axis],
                inputs=values.shape[axis],
                step=self.photo[axis] / self.resized[axis] * values.shape[axis] / self.photo[axis],
                start=self.offset[axis] * values.shape[axis] / self.resized[axis],
            )
            for axis in (0, 1)
        )
        return _resample(values, rows, columns)

    def point_to_photo(self, y: float, x: float) -> tuple[float, float]:
        """Continuous coordinates in the model's input to coordinates in the photo."""
        return (
            (y + self.offset[0]) * self.photo[0] / self.resized[0],
            (x + self.offset[1]) * self.photo[1] / self.resized[1],
        )

    def point_to_model(self, y: float, x: float) -> tuple[float, float]:
        """Continuous coordinates in the photo to coordinates in the model's input."""
        return (
            y * self.resized[0] / self.photo[0] - self.offset[0],
            x * self.resized[1] / self.photo[1] - self.offset[1],
        )


@dataclass(frozen=True)
class _Resampling:
    """One axis: output pixel ``i`` looks at the input interval ``[start + i*step, start + (i+1)*step)``."""

    outputs: int
    inputs: int
    step: float
    start: float

    def taps(self) -> tuple[slice, NDArray[np.intp], NDArray[np.float32]]:
        """Return the outputs that see any input, and their input indices and weights, both [taps, those outputs].

        Triangle filter of half-width ``max(1, step)`` about the interval's centre, normalised over the taps
        inside the input, times the share of the interval that lies inside the input.
        """
        first = min(max(int(np.floor(-self.start / self.step)), 0), self.outputs)
        last = min(max(int(np.ceil((self.inputs - self.start) / self.step)), first), self.outputs)
        left = self.start + self.step * np.arange(first, last)
        centre = left + self.step / 2
        support = max(1.0, self.step)
        count = int(np.ceil(2 * support)) + 1
        index = np.floor(centre - support).astype(np.intp) + np.arange(count)[:, None]
        weight = np.maximum(1 - np.abs(index + 0.5 - centre) / support, 0.0)
        weight[(index < 0) | (index >= self.inputs)] = 0
        covered = np.minimum(left + self.step, self.inputs) - np.maximum(left, 0)
        share = np.clip(covered / self.step, 0.0, 1.0)
        total = weight.sum(axis=0)
        weight *= np.divide(share, total, out=np.zeros_like(share), where=total > 0)
        return slice(first, last), np.clip(index, 0, self.inputs - 1), weight.astype(np.float32)


#: How maps get another size: see :func:`resize_maps`.
INTERPOLATIONS = ("bilinear", "nearest")


def resize_maps(
    maps: NDArray[np.generic], shape: Sequence[int], interpolation: str = "bilinear"
) -> NDArray[np.float32]:
    """Maps [n, ...] at another size, float32 [n, *shape]; every map covers the same area before and after.

    "bilinear" interpolates linearly along every axis between the centres of pixels (``align_corners=False``), and
    averages where there are fewer pixels than before; "nearest" takes the pixel ``floor(i * before / after)``.
    """
    current: NDArray[np.float32] = np.asarray(maps, dtype=np.float32)
    for axis, extent in enumerate(shape, start=1):
        before = current.shape[axis]
        if interpolation == "nearest":
            current = np.take(current, np.arange(extent) * before // extent, axis=axis)
        elif extent != before:
            _, index, weight = _Resampling(extent, before, step=before / extent, start=0).taps()
            current = _weighted(current, index, weight.reshape(*weight.shape, *[1] * (current.ndim - axis - 1)), axis)
    return current


def _resample(values: NDArray[np.generic], rows: _Resampling, columns: _Resampling) -> NDArray[np.float32]:
    """Separable resampling of [h,w]: rows first, one multiply-add a tap."""
    row_range, row_index, row_weight = rows.taps()
    column_range, column_index, column_weight = columns.taps()
    current = np.asarray(values, dtype=np.float32)
    current = _weighted(current, row_index, row_weight[:, :, None], axis=0)
    result = np.zeros((rows.outputs, columns.outputs), np.float32)
    result[row_range, column_range] = _weighted(current, column_index, column_weight[:, None, :], axis=1)
    return result


def _weighted(
    values: NDArray[np.float32], index: NDArray[np.intp], weight: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    total: NDArray[np.float32] = np.take(values, index[0], axis=axis) * weight[0]
    for tap in range(1, len(index)):
        total += np.take(values, index[tap], axis=axis) * weight[tap]
    return total
