"""Several pictures on one white sheet: in a row, or in rows and columns, with text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import InputError
from ..files import MAX_PIXELS
from .fonts import FAINT, INK, PAPER, write
from .render import checked_picture

Picture = NDArray[np.uint8]

_PANEL, _TINY = 640, 224
#: A picture that is enlarged more than this shows its pixels as squares.
_SQUARES = 2.0
_NARROWEST_COLUMN, _NARROWEST_SHEET = 64, 280


@dataclass(frozen=True)
class ColourBar:
    """What the colours of a map mean: a table uint8 [256,3], and the words at its ends."""

    table: NDArray[np.uint8]
    low: str
    high: str


def panel(
    pictures: Sequence[Picture], *, title: str = "", captions: Sequence[str] = (), bar: ColourBar | None = None
) -> Picture:
    """Pictures side by side on white, uint8 RGB [H,W,3], with a title above, a caption below each, and a colour bar.

    Pictures that are larger than 640 pixels are made smaller, those below 224 larger; text that is too long for
    its place is made smaller, then cut off.

    Raises:
        InputError: there is no picture, or there are more captions than pictures.
    """
    if not pictures or len(captions) > len(pictures):
        raise InputError(f"a panel of {len(pictures)} pictures cannot carry {len(captions)} captions.")
    row = [_fitted(picture, (_PANEL, _PANEL), least=_TINY) for picture in pictures]
    sheet = _sheet([row], title, (), [captions] if captions else [])
    return sheet if bar is None else _with_bar(sheet, bar, _Measures(max(image.height for image in row)))


def grid_sheet(
    rows: Sequence[Sequence[Picture | None]],
    *,
    title: str = "",
    headers: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    cell: int = 240,
) -> Picture:
    """Pictures in rows and columns on white, uint8 RGB [H,W,3].

    Args:
        rows: the pictures, any sizes; None leaves a place empty, and so does a short row.
        title: a line above all.
        headers: a line above each column.
        captions: a line below each picture, row by row.
        cell: the width that pictures are scaled to, in pixels; the height is at most one and a half times that.

    Raises:
        InputError: there is no picture, ``cell`` is below 32, or the sheet would exceed what viewers open.
    """
    if not any(picture is not None for row in rows for picture in row):
        raise InputError("a grid needs at least one picture.")
    if cell < 32:
        raise InputError(f"the cells of the grid are {cell} pixels wide; 32 is the least.")
    columns = max(len(row) for row in rows)
    if len(rows) * columns * cell * cell > MAX_PIXELS:
        raise InputError(f"a grid of {len(rows)} x {columns} cells is too large for one picture; take the HTML report.")
    box = (cell, 3 * cell // 2)
    scaled = [[None if one is None else _fitted(one, box, least=max(box)) for one in row] for row in rows]
    return _sheet(scaled, title, headers, captions)


def _with_bar(sheet: Picture, bar: ColourBar, size: _Measures) -> Picture:
    """The sheet with a colour bar below, in the middle, between its words."""
    height, width = sheet.shape[:2]
    taller = Image.new("RGB", (width, height + size.line), PAPER)
    taller.paste(Image.fromarray(sheet), (0, 0))
    third, thick = width // 3, round(0.7 * size.text)
    top = height - size.margin // 2
    strip = Image.fromarray(np.ascontiguousarray(bar.table[None])).resize((third, thick), Image.Resampling.BILINEAR)
    taller.paste(strip, (third, top))
    draw = ImageDraw.Draw(taller)
    words = third - size.margin - size.gap
    text_top = top - 0.2 * size.text
    write(draw, bar.low, (size.margin, text_top, words), size.text, fill=FAINT, anchor="ra")
    write(draw, bar.high, (2 * third + size.gap, text_top, words), size.text, fill=FAINT)
    return np.array(taller)


@dataclass(frozen=True)
class _Measures:
    """Pixels between things, and the size of text, for pictures of about ``height`` pixels."""

    height: int

    @property
    def text(self) -> int:
        return min(22, max(13, self.height // 24))

    @property
    def gap(self) -> int:
        return max(6, self.height // 40)

    @property
    def margin(self) -> int:
        return max(10, self.height // 24)

    @property
    def line(self) -> int:
        return round(1.7 * self.text)


def _sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    title: str,
    headers: Sequence[str],
    captions: Sequence[Sequence[str]],
) -> Picture:
    columns = max(len(row) for row in rows)
    widths = [
        max(_NARROWEST_COLUMN, *(row[n].width for row in rows if n < len(row) and row[n] is not None))  # type: ignore[union-attr]
        for n in range(columns)
    ]
    heights = [max((image.height for image in row if image is not None), default=0) for row in rows]
    size = _Measures(max(heights))
    below = size.line if any(any(row) for row in captions) else 0
    inner = max(sum(widths) + size.gap * (columns - 1), _NARROWEST_SHEET)
    top = size.margin + (round(2 * size.text) if title else 0) + (size.line if headers else 0)
    height = top + sum(heights) + (below + size.gap) * len(rows) - size.gap + size.margin
    sheet = Image.new("RGB", (inner + 2 * size.margin, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        write(draw, title, (size.margin, size.margin * 0.7, inner), round(1.25 * size.text))
    spread = (inner - sum(widths) - size.gap * (columns - 1)) // 2
    lefts = [size.margin + spread + sum(widths[:n]) + size.gap * n for n in range(columns)]
    for name, left, width in zip(headers, lefts, widths):
        write(draw, name, (left, top - 1.35 * size.text, width), size.text, anchor="ma")
    for number, row in enumerate(rows):
        for column, image in enumerate(row):
            if image is None:
                continue
            left, width = lefts[column], widths[column]
            sheet.paste(image, (left + (width - image.width) // 2, top + (heights[number] - image.height) // 2))
        for caption, left, width in zip(captions[number] if number < len(captions) else (), lefts, widths):
            place = (left, top + heights[number] + 0.25 * size.text, width)
            write(draw, caption, place, size.text, fill=FAINT if headers else INK, anchor="ma")
        top += heights[number] + below + size.gap
    return np.array(sheet)


def _fitted(picture: Picture, box: tuple[int, int], least: int) -> Image.Image:
    """Return the picture within ``box`` (width, height); a smaller one grows until a side is ``least`` or fills it."""
    image = Image.fromarray(checked_picture(picture))
    scale = min(box[0] / image.width, box[1] / image.height)
    if scale > 1:
        scale = min(scale, max(1.0, least / max(image.size)))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size == image.size:
        return image
    method = Image.Resampling.NEAREST if scale >= _SQUARES else Image.Resampling.LANCZOS
    return image.resize(size, method)
