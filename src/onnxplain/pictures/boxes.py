"""Boxes and outlines drawn on pictures: thin lines, readable on dark and on bright ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import InputError
from .contours import contour_segments, line_mask
from .fonts import fitted
from .render import checked_picture

#: The colour of the line, and that of the rim around it.
_LINE, _RIM = (255, 255, 255), (0, 0, 0)
#: The height of captions, as a share of the picture's longer side, and at least in pixels.
_CAPTION_SHARE, _LEAST_CAPTION = 1 / 32, 11


class Corners(Protocol):
    """A box by its corners (x0, y0) and (x1, y1), in pixels of the picture."""

    @property
    def x0(self) -> float:
        """The left edge."""

    @property
    def y0(self) -> float:
        """The upper edge."""

    @property
    def x1(self) -> float:
        """The right edge."""

    @property
    def y1(self) -> float:
        """The lower edge."""


def outlined(
    picture: NDArray[np.uint8], box: Corners | None = None, region: NDArray[np.floating] | None = None
) -> NDArray[np.uint8]:
    """Return the picture [H,W,3] with the outline of a box, and that of where a map [H,W] is above half its maximum.

    Raises:
        InputError: the map has another size.
    """
    drawn = checked_picture(picture)
    if region is not None:
        drawn = _traced(drawn, region)
    return drawn if box is None else boxes_image(drawn, [box])


def boxes_image(
    picture: NDArray[np.uint8], boxes: Sequence[Corners], captions: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Return the picture [H,W,3] with boxes, each with its caption if there are any; the first one lies on top.

    Lines are white with a dark rim on either side, a 400th of the picture's longer side each, at least one pixel.
    """
    image = Image.fromarray(checked_picture(picture))
    draw, width = ImageDraw.Draw(image), _width(picture)
    written = [*captions, *[""] * (len(boxes) - len(captions))]
    for box, caption in reversed(list(zip(boxes, written))):
        place = _inside(box, image.size, width)
        x0, y0, x1, y1 = place
        draw.rectangle((x0 - width, y0 - width, x1 + width, y1 + width), outline=_RIM, width=3 * width)
        draw.rectangle(place, outline=_LINE, width=width)
        if caption:
            _write_caption(draw, image.size, place, caption)
    return np.array(image)


def _inside(box: Corners, size: tuple[int, int], width: int) -> tuple[int, int, int, int]:
    """The first and last column and row of a line around a box that lies within the picture, its rim too."""
    found = []
    for low, high, extent in ((box.x0, box.x1, size[0]), (box.y0, box.y1, size[1])):
        last = max(extent - 1 - width, width)
        first = min(max(round(low), width), last)
        found.append((first, min(max(round(high) - 1, first), last)))
    (x0, x1), (y0, y1) = found
    return x0, y0, x1, y1


def _write_caption(draw: ImageDraw.ImageDraw, size: tuple[int, int], place: Sequence[int], caption: str) -> None:
    """Write on a dark strip above the box, or at its top inside where there is no room above."""
    height = max(_LEAST_CAPTION, round(max(size) * _CAPTION_SHARE))
    margin = height // 4
    text, font = fitted(caption, height, size[0] - 2 * margin)
    wide, tall = round(font.getlength(text)) + 2 * margin, height + 2 * margin
    left = max(min(place[0], size[0] - wide), 0)
    top = place[1] - tall if place[1] >= tall else place[1]
    draw.rectangle((left, top, left + wide - 1, top + tall - 1), fill=_RIM)
    draw.text((left + margin, top + tall / 2), text, fill=_LINE, font=font, anchor="lm")


def _traced(picture: NDArray[np.uint8], region: NDArray[np.floating]) -> NDArray[np.uint8]:
    if region.shape != picture.shape[:2]:
        raise InputError(f"the region is {list(region.shape)}, the picture {list(picture.shape[:2])}; resize it first.")
    framed = np.pad(region.astype(np.float32), 1)
    segments = contour_segments(framed, float(framed.max()) / 2) - 1
    image, width = Image.fromarray(picture), _width(picture)
    for colour, thickness in ((_RIM, 3.5 * width), (_LINE, 1.5 * width)):
        image.paste(colour, mask=line_mask(segments, image.size, thickness, alpha=1.0))
    return np.array(image)


def _width(picture: NDArray[np.uint8]) -> int:
    """The width of a line in pixels."""
    return max(1, round(max(len(picture), len(picture[0])) / 400))
