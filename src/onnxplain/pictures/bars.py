"""Attributions of named features as horizontal bars that leave zero to either side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from ..errors import InputError
from .fonts import FAINT, INK, PAPER, font_for, write
from .tokens import signed_colours

#: Values up to this share of the largest are zero but for the rounding of float32.
_ROUNDING = 1e-6


def largest_first(names: Sequence[str], values: ArrayLike, most: int | None) -> tuple[list[str], NDArray[np.float64]]:
    """Return the ``most`` features of the largest magnitudes, largest first, and the sum of the others as one more.

    Raises:
        InputError: names and values differ in number, there are none, or one is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(names) != len(numbers) or not len(names) or not np.isfinite(numbers).all():
        raise InputError(
            f"bars take finite numbers, one for each name; found {len(names)} names, values {list(numbers.shape)}."
        )
    if most is not None and most < 1:
        raise InputError(f"most is {most}; at least one bar is drawn.")
    numbers = np.where(np.abs(numbers) <= _ROUNDING * np.abs(numbers).max(), 0, numbers)
    order = np.argsort(-np.abs(numbers), kind="stable")
    kept, rest = order[:most], order[len(order) if most is None else most :]
    shown = [str(names[index]) for index in kept]
    if len(rest) < 2:  # one other is as short as its name
        return [*shown, *(str(names[index]) for index in rest)], numbers[order]
    return [*shown, f"{len(rest)} others together"], np.append(numbers[kept], numbers[rest].sum())


def bars(
    names: Sequence[str],
    values: ArrayLike,
    *,
    title: str = "",
    most: int | None = 20,
    width: int = 640,
    size: int = 15,
    colormap: str | NDArray[np.uint8] = "diverging",
) -> NDArray[np.uint8]:
    """Horizontal bars on white, uint8 RGB [H,W,3], the largest magnitude on top.

    Names stand on the left, numbers at the ends of the bars; zero is a line that positive bars leave to the right
    and negative ones to the left, in the colours of either half of ``colormap``.

    Args:
        names, values: one number for each name.
        most: how many bars at most; the others are summed into one more. None: all.
        width, size: of the picture and of its text, in pixels.

    Raises:
        InputError: names and values differ in number, there are none, or one is not finite.
    """
    shown, numbers = largest_first(names, values, most)
    margin, row = size, round(1.9 * size)
    if width < 16 * size:
        raise InputError(f"bars with text of {size} pixels are at least {16 * size} wide, not {width}.")
    top = margin + (2 * size if title else 0)
    sheet = Image.new("RGB", (width, top + row * len(shown) + margin), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        write(draw, title, (margin, margin * 0.7, width - 2 * margin), round(1.2 * size))
    label = min(0.4 * width, max(font_for(name, size).getlength(name) for name in shown) + 1)
    texts = [f"{number:+.3g}" if number else "0" for number in numbers]
    number_width = max(font_for(text, size).getlength(text) for text in texts) + size // 2
    left = margin + label + size // 2 + (number_width if numbers.min() < 0 else 0)
    right = width - margin - (number_width if numbers.max() > 0 else 0)
    lowest, highest = min(0.0, float(numbers.min())), max(0.0, float(numbers.max()))
    scale = (right - left) / ((highest - lowest) or 1.0)
    zero = left - lowest * scale
    for name, number, text, colour in zip(shown, numbers.tolist(), texts, signed_colours(numbers, colormap)):
        middle = top + row / 2
        write(draw, name, (margin, middle, label), size, anchor="rm")
        end = zero + number * scale
        if number:
            draw.rectangle((min(zero, end), top + 0.2 * row, max(zero, end), top + 0.8 * row), fill=colour)
        side = 1 if number >= 0 else -1
        place = (end + side * 0.3 * size, middle)
        draw.text(place, text, fill=FAINT, font=font_for(text, size), anchor="lm" if side > 0 else "rm")
        top += row
    draw.line((zero, top - row * len(shown), zero, top), fill=INK, width=1)
    return np.array(sheet)
