"""Iso-lines of a map: marching squares, and lines drawn over the photo.

A map of pixels is read as the function that is linear along the lines between neighbouring pixel centres. Every
square of four centres is crossed by a level on none, two or four of its edges; the crossings are joined by one or two
segments (Lorensen and Cline 1987, in two dimensions). With four, the mean of the corners says which belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import InputError
from .colormaps import shown_colormap
from .render import dimmed, display_level

#: Lines are drawn on a canvas this many times larger, then averaged down.
_FINENESS = 3
_RIM = (0, 0, 0)
#: The lowest colours of a colour map are too dark for lines: level 0 takes the colour of this level.
_DARKEST = 0.3


def contour_segments(values: NDArray[np.floating], level: float) -> NDArray[np.float32]:
    """Return the iso-line of a map [H,W] at ``level`` as segments, float32 [S,2,2]: S times two ends (y, x).

    The centre of pixel i lies at i + 0.5. A pixel equal to the level counts as below it, so a map that nowhere
    exceeds the level has no line. Every end lies on an edge between two pixel centres, at the point where the
    linear interpolation of the two is the level.
    """
    corners = np.stack([values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]])  # clockwise
    rows, columns = np.nonzero((corners > level).any(axis=0) & (corners <= level).any(axis=0))
    corner = corners[:, rows, columns].astype(np.float64)
    above = corner > level
    crossed = above != np.roll(above, -1, axis=0)  # edge k joins the corners k and k + 1
    following = np.roll(corner, -1, axis=0)
    share = np.divide(level - corner, following - corner, out=np.zeros_like(corner), where=crossed)
    y = rows + 0.5 + np.stack([np.zeros_like(share[0]), share[1], np.ones_like(share[2]), 1 - share[3]])
    x = columns + 0.5 + np.stack([share[0], np.ones_like(share[1]), 1 - share[2], np.zeros_like(share[3])])
    points = np.stack([y, x], axis=-1)  # [edge, cell, 2]

    def joined(cells: NDArray[np.bool_], first: int, second: int) -> NDArray[np.float64]:
        return np.stack([points[first, cells], points[second, cells]], axis=1)

    saddle = crossed.all(axis=0)
    around_first = saddle & ((corner.mean(axis=0) > level) != above[0])  # corners 0 and 2 are cut off
    around_second = saddle & ~around_first
    found = [
        joined(crossed[a] & crossed[b] & ~saddle, a, b) for a, b in ((0, 1), (1, 2), (2, 3), (0, 3), (0, 2), (1, 3))
    ]
    found += [joined(around_first, 3, 0), joined(around_first, 1, 2)]
    found += [joined(around_second, 0, 1), joined(around_second, 2, 3)]
    return np.concatenate(found).astype(np.float32)


def contour_image(
    photo: NDArray[np.uint8],
    saliency: NDArray[np.generic],
    *,
    levels: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    colormap: str | NDArray[np.uint8] | None = None,
    alpha: float = 1.0,
    percentiles: tuple[float, float] = (50, 99.5),
    smooth: float = 1 / 40,
    saturation: float = 0.6,
    brightness: float = 0.75,
    width: float | None = None,
    signed: bool = False,
) -> NDArray[np.uint8]:
    """Iso-lines of the map over the photo, uint8 RGB [H,W,3].

    The map is stretched as for :func:`~onnxplain.pictures.render.overlay_image`; each of ``levels`` (0..1, ends left
    out) gets a line, with ``signed`` one on either side of zero, with a dark rim and the opacity ``alpha``. Its colour
    is that of the level in the upper 70 % of the colour map. ``width`` is that of the lines in pixels; None: a 200th
    of the longer side, at least 1.5.

    Raises:
        InputError: the map's size is not the photo's, or an argument does not fit.
    """
    base = dimmed(photo, saliency, saturation, brightness)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it lies within 0..1.")
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"contour levels are {list(levels)}; they lie between 0 and 1, ends left out.")
    if width is not None and width <= 0:
        raise InputError(f"contour lines are {width:g} pixels wide; the width is above 0.")
    table = shown_colormap(colormap, signed)
    position, _ = display_level(saliency, percentiles=percentiles, smooth=smooth, signed=signed)
    stroke = max(1.5, max(position.shape) / 200) if width is None else width
    picture = Image.fromarray(base)
    sides = (-1, 1) if signed else (1,)
    for level, side in product(sorted(levels), sides):
        place, shade = level, _DARKEST + (1 - _DARKEST) * level
        if signed:
            place, shade = (1 + side * place) / 2, (1 + side * shade) / 2
        segments = contour_segments(position, place)
        colour = tuple(int(part) for part in table[round(255 * shade)])
        for drawn, thickness in ((_RIM, 1.9 * stroke), (colour, stroke)):
            picture.paste(drawn, mask=line_mask(segments, picture.size, thickness, alpha))
    return np.array(picture)


def line_mask(segments: NDArray[np.float32], size: tuple[int, int], thickness: float, alpha: float) -> Image.Image:
    """Return how much of each pixel the lines cover, times ``alpha``, as greys 0..255."""
    large = Image.new("L", (size[0] * _FINENESS, size[1] * _FINENESS))
    draw = ImageDraw.Draw(large)
    for (y0, x0), (y1, x1) in (segments * _FINENESS - 0.5).tolist():
        draw.line((x0, y0, x1, y1), fill=round(255 * alpha), width=max(1, round(thickness * _FINENESS)))
    return large.reduce(_FINENESS)
