"""How a map is drawn: the options of all kinds of pictures, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class PictureOptions(TypedDict, total=False):
    """The options of pictures; a kind of picture has those that its function takes, with defaults of its own.

    - ``signed``: draw what speaks for the class and what against it, in colours that diverge at zero.
    - ``colormap``: a name in ``COLORMAPS``, the palette "colour_blind", or a table uint8 [256,3]; None is that of the
      kind.
    - ``percentiles``: those of the positive values that become the lowest and the highest colour, 0..100.
    - ``smooth``: the standard deviation of the Gaussian filter, as a share of the map's longer side.
    - ``alpha``: the weight of the map over the photo, 0..1.
    - ``saturation``, ``brightness``: what the photo below keeps of its colour and of its light, 0..1.
    - ``levels``: of contours, each between 0 and 1; ``width``: of their lines, in pixels, None for one that fits.
    - ``threads``: on the CPU, 0 for all cores.
    """

    signed: bool
    colormap: str | NDArray[np.uint8] | None
    percentiles: tuple[float, float]
    smooth: float
    alpha: float
    saturation: float
    brightness: float
    levels: Sequence[float]
    width: float | None
    threads: int
