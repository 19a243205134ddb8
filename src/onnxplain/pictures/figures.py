"""Figures of matplotlib, for papers: text stays text in SVG and PDF. The only importer of matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import install_hint
from ..errors import RuntimeMissingError
from ..text import printable
from .bars import largest_first
from .tokens import signed_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH_INCHES = 9.0


def pictures_figure(pictures: Sequence[NDArray[np.uint8]], *, title: str = "", captions: Sequence[str] = ()) -> Figure:
    """Pictures uint8 RGB [H,W,3] side by side.

    Raises:
        RuntimeMissingError: matplotlib is not installed.
    """
    height, width = pictures[0].shape[:2]
    inches = min(_WIDTH_INCHES * height / (len(pictures) * width), 2 * _WIDTH_INCHES)
    figure = new_figure(_WIDTH_INCHES, inches + 0.6)
    for number, (axes, picture) in enumerate(zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures)):
        axes.imshow(picture, interpolation="none")
        axes.set_axis_off()
        if number < len(captions):
            axes.set_title(plain(captions[number]), fontsize="medium")
    figure.suptitle(plain(title))
    return figure


def bars_figure(
    names: Sequence[str],
    values: ArrayLike,
    *,
    title: str = "",
    most: int | None = 20,
    colormap: str | NDArray[np.uint8] = "diverging",
) -> Figure:
    """Return what :func:`~onnxplain.pictures.bars.bars` draws, as a figure of matplotlib.

    Raises:
        RuntimeMissingError: matplotlib is not installed.
        InputError: as ``bars`` raises.
    """
    shown, numbers = largest_first(names, values, most)
    figure = new_figure(_WIDTH_INCHES * 0.75, 0.32 * len(shown) + 0.9)
    axes = figure.subplots()
    colours = [tuple(part / 255 for part in colour) for colour in signed_colours(numbers, colormap)]
    rows = np.arange(len(shown))
    drawn = axes.barh(rows, numbers, color=colours)
    axes.bar_label(drawn, fmt="{:+.3g}", padding=3)
    axes.set_yticks(rows, [plain(name) for name in shown])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain(title))
    return figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that no window shows.

    Raises:
        RuntimeMissingError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeMissingError(f"figures need matplotlib: {install_hint('plot')}.") from error
    return Figure(figsize=(width, height), layout="constrained")


def encode_figure(figure: Figure, kind: str, *, dpi: int = 200) -> bytes:
    """Return the figure as the bytes of an "svg", "pdf" or "png"; ``dpi``: pixels of an inch."""
    encoded = io.BytesIO()
    figure.savefig(encoded, format=kind, dpi=dpi)
    return encoded.getvalue()


def plain(text: str) -> str:
    """``text`` with dollars that are not taken for formulas."""
    return printable(text).replace("$", r"\$")
