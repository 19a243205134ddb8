"""Tokens of a vision transformer as the grid of patches that they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ..errors import InputError

#: Tokens that may stand before the patches: class, distillation, registers.
_MOST_EXTRA = 8


def token_grid(tokens: NDArray[Any], size: Sequence[int], name: str) -> NDArray[Any]:
    """Tokens [n,C,T] of images of ``size`` (H,W) as [n,C,h,w]: patches are square, and any other tokens come first.

    Raises:
        InputError: T tokens are no such grid; ``name`` is what they are called.
    """
    count = tokens.shape[2]
    for extra in range(min(_MOST_EXTRA, count - 1) + 1):
        rows = round(((count - extra) * size[0] / size[1]) ** 0.5)
        if rows and (count - extra) % rows == 0 and size[0] * ((count - extra) // rows) == size[1] * rows:
            return tokens[:, :, extra:].reshape(*tokens.shape[:2], rows, -1)
    raise InputError(
        f"the {count} tokens of {name!r} are no grid of square patches of an image [{size[0]},{size[1]}], nor one "
        f"after up to {_MOST_EXTRA} other tokens; name a layer with positions by layer=."
    )
