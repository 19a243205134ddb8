"""Tables of results: intervals, Markdown, CSV and JSON files."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..files import write_bytes
from ..text import csv_cell, json_text, printable, utf8

_RESAMPLES = 2000


def counted(listed: Sequence[Any], what: str) -> str:
    """Return how many there are: "1 image", "2 images"."""
    return f"{len(listed)} {what}{'' if len(listed) == 1 else 's'}"


def number(value: float) -> float | None:
    """Return ``value`` for JSON and CSV; None if it is NaN or infinite."""
    return float(value) if np.isfinite(value) else None


def interval(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the 95 % percentile bootstrap interval of the mean of ``values`` [N]; (None, None) for fewer than
    two, or infinite ones."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None, None
    draws = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns; all but the first are numbers."""
    header, *rows = [[printable(cell).replace("|", "\\|") for cell in line] for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [header, ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])], *rows]
    aligned = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))] for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def write_table(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> Path:
    """Write ``rows`` as .csv, or ``document`` as .json.

    Raises:
        OutputError: another suffix, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        content = json_text(document) + "\n"
    elif suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
        content = text.getvalue()
    else:
        raise OutputError(f"{path}: tables are written as .csv or .json, not {suffix or 'without a suffix'}.")
    return write_bytes(path, utf8(content))
