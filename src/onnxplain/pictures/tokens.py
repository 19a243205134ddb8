"""Attributions of text as coloured tokens: HTML and a picture. Colours diverge at zero."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from ..errors import InputError
from .colormaps import colormap as table_of
from .fonts import INK, PAPER, Colour, fitted, write

#: What stands for characters that move the pen instead of leaving a mark.
_VISIBLE = str.maketrans({"\n": "↵", "\r": "↵", "\t": "→"})
_LUMA = (0.299, 0.587, 0.114)


def signed_colours(values: ArrayLike, colormap: str | NDArray[np.uint8] = "diverging") -> list[Colour]:
    """Return one colour for each number [T]: zero the middle of the colour map, the largest magnitude an end of it.

    Raises:
        InputError: another rank, NaN or infinity.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise InputError(f"attributions are finite numbers, one for each name; found shape {list(numbers.shape)}.")
    largest = np.abs(numbers).max(initial=0)
    level = 0.5 + (0.5 * numbers / largest if largest > 0 else 0 * numbers)
    table = table_of(colormap)
    return [(int(r), int(g), int(b)) for r, g, b in table[np.floor(255 * level + 0.5).astype(int)]]


def tokens_html(
    tokens: Sequence[str], attributions: ArrayLike, *, colormap: str | NDArray[np.uint8] = "diverging"
) -> str:
    """Return the tokens as one ``<p>``, each on the colour of its attribution, which a pointer over it shows.

    All text is escaped; styles are inside, so the fragment stands alone.

    Raises:
        InputError: there are more tokens than attributions, or the reverse.
    """
    spans = [
        f'<span title="{value:+.3g}" style="background:rgb{colour};color:rgb{_ink(colour)};'
        f'padding:.1em .2em;border-radius:.2em">{escape(token.translate(_VISIBLE))}</span>'
        for token, value, colour in _coloured(tokens, attributions, colormap)
    ]
    return f'<p style="line-height:1.8;white-space:pre-wrap">{" ".join(spans)}</p>'


def tokens_image(
    tokens: Sequence[str],
    attributions: ArrayLike,
    *,
    title: str = "",
    width: int = 640,
    size: int = 18,
    colormap: str | NDArray[np.uint8] = "diverging",
) -> NDArray[np.uint8]:
    """Return the tokens in lines of ``width`` pixels, uint8 RGB [H,W,3], each on the colour of its attribution.

    ``size`` is that of the text in pixels.

    Raises:
        InputError: there are more tokens than attributions, or the reverse; ``width`` is below four times ``size``.
    """
    if size < 6 or width < 4 * size:
        raise InputError(f"text of {size} pixels in lines of {width}; the text is 6 or more, a line four times that.")
    margin, padding, line = size, max(2, size // 5), round(1.75 * size)
    top = margin + (2 * size if title else 0)
    placed, left = [], margin
    for token, _, colour in _coloured(tokens, attributions, colormap):
        text, font = fitted(token.translate(_VISIBLE), size, width - 2 * margin - 2 * padding, smallest=1)
        wide = round(font.getlength(text or " ")) + 2 * padding
        if left > margin and left + wide > width - margin:
            left, top = margin, top + line
        placed.append((left, top, wide, text, font, colour))
        left += wide + padding
    sheet = Image.new("RGB", (width, top + line + margin), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        write(draw, title, (margin, margin * 0.7, width - 2 * margin), round(1.2 * size), fill=INK)
    for left, y, wide, text, font, colour in placed:
        draw.rounded_rectangle((left, y, left + wide, y + 1.45 * size), radius=padding, fill=colour)
        draw.text((left + padding, y + 1.08 * size), text, fill=_ink(colour), font=font, anchor="ls")
    return np.array(sheet)


def _coloured(
    tokens: Sequence[str], attributions: ArrayLike, colormap: str | NDArray[np.uint8]
) -> list[tuple[str, float, Colour]]:
    values = np.asarray(attributions, dtype=np.float64)
    colours = signed_colours(values, colormap)
    if len(tokens) != len(colours):
        raise InputError(f"there are {len(tokens)} tokens and {len(colours)} attributions; one belongs to each.")
    return list(zip(tokens, values.tolist(), colours))


def _ink(ground: Colour) -> Colour:
    """Black or white, whichever stands out from ``ground``."""
    return (0, 0, 0) if np.dot(ground, _LUMA) > 140 else PAPER
