"""Guided Grad-CAM (Selvaraju et al. 2017, "Grad-CAM", section 3.3): the detail of guided backpropagation where Grad-CAM
finds the class.
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
from .class_activation import GradCam
from .guided import GuidedBackprop

Array = NDArray[Any]


@dataclass(frozen=True)
class GuidedGradCam(Method):
    """The product, element by element, of guided backpropagation and of Grad-CAM at the size of the input; the map is
    max over channels of the absolute value.

    ``layer`` and ``interpolation`` are those of Grad-CAM. The paper interpolates bilinearly; Captum's ``GuidedGradCam``
    takes "nearest" unless told otherwise.

    The class is found by Grad-CAM alone: the detail says little about the model (see
    :class:`~.guided.GuidedBackprop`).
    """

    layer: str | None = None
    interpolation: str = "bilinear"

    name = "guided_grad_cam"

    def __post_init__(self) -> None:
        if self.interpolation == "none":
            raise InputError(
                "guided Grad-CAM needs a map of the input's size; interpolation is 'bilinear' or 'nearest'."
            )
        self._grad_cam()

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        grad_cam = self._grad_cam().attribute(attributor, feeds, targets)
        guided = GuidedBackprop().attribute(attributor, feeds, targets)
        (axis,) = self.axes(attributor).values()
        (maps,), (detail,) = grad_cam.attributions, guided.attributions
        return guided.with_attributions([detail * (maps if axis is None else np.expand_dims(maps, axis))])

    def _grad_cam(self) -> GradCam:
        return GradCam(layer=self.layer, interpolation=self.interpolation)
