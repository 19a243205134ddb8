"""Pictures and colours inside HTML: everything in the text itself, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .render import checked_picture, encode

__all__ = ["bar_table", "data_uri", "escape", "thumbnail"]


def data_uri(picture: NDArray[np.uint8], kind: str = "JPEG", *, quality: int = 85) -> str:
    """uint8 RGB [H,W,3] as a ``data:`` address: the encoded picture in base64."""
    encoded = base64.b64encode(encode(picture, kind, quality=quality)).decode("ascii")
    return f"data:image/{kind.lower()};base64,{encoded}"


def thumbnail(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Return the picture with its longer side at most ``longest`` pixels; a smaller one is returned as it is."""
    image = Image.fromarray(checked_picture(picture))
    if max(image.size) <= longest:
        return picture
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.array(image)


def bar_table(rows: Iterable[tuple[str, float, str]]) -> str:
    """Return a table of names, bars (0..1 of the full length) and the numbers behind them."""
    cell = '<td style="text-align:left;padding:0 .5em 0 0{}">'
    bar = '<span style="display:inline-block;height:.7em;width:{:.3g}em;background:#4a7fb5"></span>'
    lines = [
        f"<tr>{cell.format('')}{escape(name)}</td>"
        f"{cell.format(';white-space:nowrap')}{bar.format(8 * min(max(share, 0), 1))} {escape(number)}</td></tr>"
        for name, share, number in rows
    ]
    return f"<table>{''.join(lines)}</table>"
