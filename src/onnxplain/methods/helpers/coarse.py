"""Maps over the positions of an inner layer, which are fewer than those of the input: how they get its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...model.attributor import Attributor
from ...photos.geometry import INTERPOLATIONS, resize_maps
from ...signature import Gradient
from ..base import Method

Array = NDArray[Any]

#: Tokens that may stand before the patches: class, distillation, registers.
_MOST_EXTRA = 8


@dataclass(frozen=True)
class CoarseMap(Method):
    """A method whose map has the resolution of an inner layer.

    ``interpolation`` is how it gets the input's size: "bilinear" (between the centres of pixels,
    ``align_corners=False``), "nearest", or "none" to leave it as coarse as the layer.
    """

    interpolation: str = "bilinear"

    reduction = "positive"

    def __post_init__(self) -> None:
        known = (*INTERPOLATIONS, "none")
        if self.interpolation not in known:
            raise InputError(f"interpolation is one of {', '.join(map(repr, known))}; found {self.interpolation!r}.")

    def source(self, attributor: Attributor, feeds: Mapping[str, Array]) -> tuple[Gradient, tuple[int, ...]]:
        """Return what is explained, and its extents without batch and channels: (H,W) for images.

        Raises:
            InputError: the model has gradients of several inputs.
        """
        if len(attributor.gradients) != 1:
            names = ", ".join(repr(gradient.wrt) for gradient in attributor.gradients)
            raise InputError(f"the model has gradients of {names}; choose one with Explainer(wrt=...).")
        source = attributor.gradients[0]
        return source, attributor.extents(source, feeds)

    def enlarged(self, maps: Array, size: Sequence[int]) -> Array:
        """Return ``maps`` [n, ...] at the ``size`` of the input, as the option says."""
        return maps if self.interpolation == "none" else resize_maps(maps, size, self.interpolation)


def token_grid(tokens: Array, size: Sequence[int], name: str) -> Array:
    """Return tokens [n,C,T] of images [H,W] of ``size`` as [n,C,h,w]: patches are square, other tokens come first.

    Raises:
        InputError: T tokens are no such grid; ``name`` is what they are called.
    """
    count = tokens.shape[2]
    for extra in range(min(_MOST_EXTRA, count - 1) + 1):
        rows = round(np.sqrt((count - extra) * size[0] / size[1]))
        if rows and (count - extra) % rows == 0 and size[0] * ((count - extra) // rows) == size[1] * rows:
            return tokens[:, :, extra:].reshape(*tokens.shape[:2], rows, -1)
    raise InputError(
        f"the {count} tokens of {name!r} are no grid of square patches of an image [{size[0]},{size[1]}], nor one "
        f"after up to {_MOST_EXTRA} other tokens; name a layer with positions by layer=."
    )
