"""Text in pictures: a font that has its characters, at a size at which it fits.

Pillow brings a font for Latin, Greek and Cyrillic text. For a text with other characters the fonts that systems
usually carry are asked, and the one that has most of its characters is taken.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TypeAlias

from PIL import ImageDraw, ImageFont

from ..text import printable

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour: TypeAlias = tuple[int, int, int]

INK, FAINT, PAPER = (40, 40, 40), (110, 110, 110), (255, 255, 255)
#: Text is made smaller down to this share of its size, then cut off.
_SMALLEST = 0.8
#: File names of fonts with many scripts, as Pillow finds them in the system's folders.
_WIDE_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "DroidSansFallback.ttf",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "AppleSDGothicNeo.ttc",
    "segoeui.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
)
_NO_CHARACTER = "\U0010ffff"


def font_for(text: str, size: int) -> Font:
    """Return the font of ``size`` pixels that has most characters of ``text``; Pillow's own if none has more."""
    return _loaded(_best_name("".join(sorted(set(text)))), size)


def fitted(text: str, size: int, width: float, smallest: float = _SMALLEST) -> tuple[str, Font]:
    """``text`` in one line and a font in which it is at most ``width`` pixels wide.

    The font shrinks from ``size`` pixels to ``smallest`` of that; if the text is still too wide it ends in "…".
    """
    line = printable(" ".join(text.split()))
    least = smallest * size
    font = font_for(line, size)
    while size - 1 >= least and font.getlength(line) > width:
        size -= 1
        font = font_for(line, size)
    if font.getlength(line) <= width:
        return line, font
    kept = len(line)
    while kept and font.getlength(line[:kept].rstrip() + "…") > width:
        kept -= 1
    return (line[:kept].rstrip() + "…" if kept else ""), font


def write(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: tuple[float, float, float],
    size: int,
    *,
    fill: Colour = INK,
    anchor: str = "la",
) -> None:
    """One line of text at ``(left, top)`` of ``box``, at most its third number wide.

    ``anchor``: as in Pillow; "ma" centres it in the width, "ra" ends it there.
    """
    left, top, width = box
    line, font = fitted(text, size, width)
    shift = {"l": 0.0, "m": width / 2, "r": width}[anchor[0]]
    draw.text((left + shift, top), line, fill=fill, font=font, anchor=anchor)


@lru_cache(maxsize=64)
def _loaded(name: str | None, size: int) -> Font:
    return ImageFont.load_default(size) if name is None else ImageFont.truetype(name, size)


@lru_cache(maxsize=1024)
def _best_name(characters: str) -> str | None:
    best, most = None, _coverage(None, characters)
    for name in _WIDE_FONTS:
        if most == len(characters):
            break
        found = _coverage(name, characters)
        if found > most:
            best, most = name, found
    return best


def _coverage(name: str | None, characters: str) -> int:
    """Return how many of the characters a font has; -1 if it is not there."""
    try:
        font = _loaded(name, 16)
    except OSError:
        return -1
    missing = bytes(font.getmask(_NO_CHARACTER))
    invisible = ("Z", "C", "M")
    return sum(unicodedata.category(one)[0] in invisible or bytes(font.getmask(one)) != missing for one in characters)
