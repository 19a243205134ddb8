"""Vanilla gradients: the attribution dS_c/dI of Simonyan, Vedaldi and Zisserman 2013, section 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.attribution import Attribution
from ..model.attributor import Attributor
from .base import Method

Array = NDArray[Any]


@dataclass(frozen=True)
class Saliency(Method):
    """w = dS_c/dI, one backward pass with fixed weights; the map is max over channels of |w|.

    It shows which pixels would change the score most if they changed a little: sensitivity, not attribution.
    """

    name = "saliency"

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        return attributor.attribute(feeds, targets)

    def for_maps(self, attributor: Attributor) -> Attributor:
        return attributor.magnitudes


@dataclass(frozen=True)
class GradientXInput(Method):
    """I * dS_c/dI, element by element (Shrikumar et al. 2016, "Not Just a Black Box"): the first-order share of every
    element in the score, for a bias-free piecewise linear network exactly. The map is |sum over channels|.

    For an input of token ids I is their embeddings, so the map has one number for each token. Captum's
    ``InputXGradient`` is the same.
    """

    name = "gradient_x_input"
    reduction = "abs_sum"

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        found, values = attributor.attribute_with_values(feeds, targets)
        return found.with_attributions([gradient * value for gradient, value in zip(found.attributions, values)])
