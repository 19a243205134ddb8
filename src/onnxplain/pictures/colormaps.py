"""Colour maps as tables of 256 RGB colours, for maps in 0..1.

inferno, magma and viridis (by Nathaniel Smith and Stéfan van der Walt, CC0) are perceptually uniform: equal
steps look equally large; so is cividis (Nuñez, Anderton and Renslow 2018, CC0), which looks the same without red
cones or without green ones. turbo (by Anton Mikhailov, Google, Apache-2.0) shows more levels at the price of that.
Each is stored as 33 of its colours (cividis: 86); in between is interpolated, at most 3/255 off. gray is linear;
diverging (blue, white, red) is for signed maps, whose zero belongs in its middle; diverging_dark, black there and
bright at its ends, is the one to lay over a photo; blue_orange is the same in colours that colour-blind people tell
apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

_COLOURS = {
    "inferno": (
        "000004 040312 0b0724 150b37 210c4a 2f0a5b 3d0965 4a0c6b 57106e 64156e 71196e "
        "7d1e6d 8a226a 972766 a32c61 b0315b bc3754 c63d4d d04545 da4e3c e35933 eb6429 "
        "f1711f f67e14 f98c0a fb9b06 fcaa0f fbba1f f9c932 f5d949 f2e865 f3f586 fcffa4"
    ),
    "magma": (
        "000004 030312 0a0822 130d34 1d1147 29115a 36106b 440f76 51127c 5d177f 6a1c81 "
        "762181 832681 902a81 9c2e7f aa337d b73779 c23b75 cf4070 db476a e55064 ee5b5e "
        "f4695c f9785d fb8761 fd9668 fea571 feb47b fec287 fed194 fde0a1 fceeb0 fcfdbf"
    ),
    "viridis": (
        "440154 470d60 48186a 482374 472d7b 453781 424086 3e4989 3b528b 375b8d 33638d "
        "2f6b8e 2c728e 297a8e 26828e 23898e 21918c 1f978b 1f9f88 21a685 27ad81 31b57b "
        "3dbc74 4cc26c 5cc863 6ece58 81d34d 95d840 aadc32 c0df25 d5e21a eae51a fde725"
    ),
    "cividis": (
        "00224e 002553 002758 00295d 002b62 002d68 002f6d 003170 053371 0f3570 163770 1c396f 213b6e "
        "263d6e 2a3f6d 2e416d 32436d 35456c 39486c 3c4a6c 3f4c6c 424e6c 45506c 48526c 4b546c 4e566c "
        "51586d 545a6d 565c6d 595e6e 5c616e 5e636f 61656f 646770 666970 696b71 6c6d72 6e6f73 717274 "
        "737475 767676 787877 7b7a78 7e7c78 807f78 838179 868379 898578 8c8878 8f8a78 928c78 948e77 "
        "979177 9a9376 9d9576 a09875 a39a74 a69c74 a99f73 aca172 afa471 b3a670 b6a96f b9ab6d bcae6c "
        "bfb06b c2b369 c5b568 c8b866 ccba64 cfbd62 d2c060 d5c25e d9c55c dcc859 dfca57 e2cd54 e6d051 "
        "e9d34e edd54a f0d846 f3db42 f7de3e fbe138 fee434 fee838"
    ),
    "turbo": (
        "30123b 392a73 4040a2 4456c7 466be3 4680f6 4294ff 37a8fa 28bceb 1ccdd8 18ddc2 "
        "1fe9af 32f298 4ef97d 6dfe62 8bff4b a4fc3c b7f735 cbed34 dde037 ecd13a f7c13a "
        "fdae35 fe992c fb8122 f56918 ec530f e14109 d23105 c12302 ac1701 950d01 7a0403"
    ),
    "gray": "000000 ffffff",
    "diverging": "08306b 2f7ebc 9fcae3 f7f7f7 f5a886 d14339 67000d",
    "diverging_dark": "a8d4ff 5aa2f5 2464c8 101010 b8321e f4693c ffc08f",
    "blue_orange": "b3dcff 56b4e9 0a6aa8 101010 9c5a00 e69f00 ffdf8f",
}
#: Names of palettes: the colour map of maps without a sign, and that of maps with one.
PALETTES = {"colour_blind": ("cividis", "blue_orange")}

#: Names that :func:`colormap` knows.
COLORMAPS = tuple(_COLOURS)


def shown_colormap(
    which: str | NDArray[np.uint8] | None, signed: bool, usual: str = "inferno", usual_signed: str = "diverging_dark"
) -> NDArray[np.uint8]:
    """Return the table, uint8 [256,3], in which a map is drawn: of a name, of a palette, or the usual one for None.

    Raises:
        InputError: as for :func:`colormap`.
    """
    if which is None:
        return colormap(usual_signed if signed else usual)
    if isinstance(which, str) and which in PALETTES:
        return colormap(PALETTES[which][signed])
    return colormap(which)


def colormap(which: str | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the table, uint8 [256,3], of a name in ``COLORMAPS``; a table of one's own is checked and returned.

    Raises:
        InputError: an unknown name, or an array of another shape or type.
    """
    if isinstance(which, np.ndarray):
        if which.shape != (256, 3) or which.dtype != np.uint8:
            raise InputError(f"a colour map is uint8 [256,3], found {which.dtype} {list(which.shape)}.")
        return np.ascontiguousarray(which)
    if which not in _COLOURS:
        raise InputError(f"no colour map is called {which!r}; there are {', '.join((*COLORMAPS, *PALETTES))}.")
    colours = [bytes.fromhex(colour) for colour in _COLOURS[which].split()]
    known = np.array([list(colour) for colour in colours], dtype=np.float64)
    place = np.rint(np.linspace(0, 255, len(known)))
    table = [np.interp(np.arange(256), place, known[:, channel]) for channel in range(3)]
    return np.rint(np.stack(table, axis=1)).astype(np.uint8)
