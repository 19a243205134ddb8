"""Tables of plain text: they read alike in a terminal, in a file and through a pipe."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from ..text import printable

_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return the lines of a table: a head (empty: none), a rule below it, and the rows.

    Columns are as wide as their widest cell. The first ``left`` ones begin at the left, numbers end at the right.
    """
    shown = [[printable(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(map(_width, column)) for column in zip(*shown)]
    lines = [
        _GAP.join(_padded(cell, width, number < left) for number, (cell, width) in enumerate(zip(row, widths))).rstrip()
        for row in shown
    ]
    if head:
        lines.insert(1, _GAP.join("-" * width for width in widths))
    return lines


def _padded(cell: str, width: int, left: bool) -> str:
    blank = " " * (width - _width(cell))
    return cell + blank if left else blank + cell


def _width(text: str) -> int:
    """The cells of a terminal that a text takes: two for a wide sign, none for one that stands above another."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )
