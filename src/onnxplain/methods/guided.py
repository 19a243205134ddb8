"""Backward passes through other ReLUs than the forward pass: guided backpropagation and deconvnets.

Let y = max(x, 0), and dy what arrives from above. In the places of the ReLU's derivative stand

    vanilla gradient          dx = dy [y > 0]
    guided backpropagation    dx = max(dy, 0) [y > 0]
    deconvnet                 dx = max(dy, 0)

while every other operator keeps its rule; a max pool sends dy to where its maximum was, which are the "switches" of a
deconvnet. What comes out is no derivative of the score: both methods show what the lower layers react to, and change
little when the weights of the upper layers are replaced by random ones (Adebayo et al. 2018).

ReLUs are Relu and Clip(0, c), such as ReLU6, whose [0 < y < c] takes the place of [y > 0]; a deconvnet rectifies and
does not clip at c. Other activations (LeakyRelu, HardSwish, Gelu ...) keep their derivative, and a model without ReLU
between input and score is refused. Captum's ``GuidedBackprop`` and ``Deconvolution`` give the same numbers for models
whose ReLUs are all ``nn.ReLU`` modules, the only ones that they change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from .base import Method

Array = NDArray[Any]


@dataclass(frozen=True)
class ReplacedRelu(Method):
    """The gradient with the rules for ReLUs that are called like the method, in a copy of the graph that is made once;
    the map is max over channels of the absolute value.
    """

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        changed = attributor.variant(rules=self.name)
        if changed.signature.metadata["onnxplain.replaced_rules"] == "0":
            raise InputError(
                f"method {self.name!r} replaces the derivative of ReLUs, and there is no Relu or Clip(0, c) between "
                "input and score of this model, so it would give vanilla gradients; use method='saliency', "
                "'smoothgrad' or 'integrated_gradients'."
            )
        return changed.attribute(feeds, targets)


@dataclass(frozen=True)
class GuidedBackprop(ReplacedRelu):
    """Guided backpropagation (Springenberg et al. 2015, "Striving for Simplicity"): the backward pass lets through what
    is positive, at ReLUs that are active: dx = max(dy, 0) [y > 0].
    """

    name = "guided_backprop"


@dataclass(frozen=True)
class Deconvnet(ReplacedRelu):
    """A deconvnet (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 2.1): the
    backward pass goes through the ReLUs themselves: dx = max(dy, 0). It begins at the class score.
    """

    name = "deconvnet"
