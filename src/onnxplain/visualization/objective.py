"""The score of images and its gradient, for images counted in half pixel ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..model.attributor import Attributor
from ..photos import Preprocessing

Array = NDArray[Any]


@dataclass(frozen=True)
class Evaluation:
    """Scores [N] of N images, those of all classes [N,K], and the gradients [N,C,H,W]."""

    scores: NDArray[np.float64]
    class_scores: NDArray[np.float64]
    gradients: NDArray[np.float64]


class Objective:
    """S(I) and dS/dI of images I [N,C,H,W]: the input tensor divided by ``unit``, channels in the model's order.

    ``unit`` is half the pixel range, of the widest channel, in values of the tensor; ``low`` and ``high`` [C,1,1] are
    the bounds of that range for I; ``reverse`` says whether channels are BGR.
    """

    def __init__(self, attributor: Attributor, preprocessing: Preprocessing) -> None:
        """Images for the one input of the model.

        Scores that are summed over positions become their mean where the model also has the values of the tensor that
        they are taken of.

        Raises:
            InputError: it has several inputs, or takes integers.
        """
        inputs = attributor.inputs
        if len(inputs) != 1:
            names = ", ".join(repr(tensor.name) for tensor in inputs)
            raise InputError(f"a picture is made for a model with one image as its input; this one has {names}.")
        if attributor.gradients[0].wrt != inputs[0].name:
            raise InputError(
                f"the gradient is that of {attributor.gradients[0].wrt!r}, not of the input {inputs[0].name!r} "
                f"({inputs[0].dtype}); gradient ascent changes an input of floats. Export the model with one."
            )
        self.attributor, self.preprocessing = attributor, preprocessing
        low, high = (bound.reshape(-1, 1, 1) for bound in preprocessing.value_range())
        self.unit = float((high - low).max() / 2)
        self.low, self.high = low / self.unit, high / self.unit
        self.reverse = preprocessing.channels == "BGR"
        self._channels_last = preprocessing.layout == "NHWC"

    def evaluate(self, images: Array, targets: NDArray[np.int64]) -> Evaluation:
        """S and dS/dI of images [N,C,H,W], one class for each.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        parts: list[tuple[Array, Array, Array]] = []
        for _, feeds, chosen in self.attributor.split({self.attributor.inputs[0].name: self.tensor(images)}, targets):
            found = self.attributor.attribute(feeds, chosen)
            positions = sum(value.size for value in found.tensors.values()) // found.class_scores.size or 1
            gradient = found.attributions[0].astype(np.float64) * (self.unit / positions)
            parts.append((found.scores / positions, found.class_scores / positions, gradient))
        scores, class_scores, gradients = (np.concatenate(part).astype(np.float64) for part in zip(*parts))
        return Evaluation(scores, class_scores, np.moveaxis(gradients, -1, 1) if self._channels_last else gradients)

    def tensor(self, images: Array) -> Array:
        """Return the input tensor of images."""
        values = images * self.unit
        values = np.moveaxis(values, 1, -1) if self._channels_last else values
        return np.ascontiguousarray(values, dtype=self.preprocessing.dtype)

    def pixels(self, image: Array) -> NDArray[np.uint8]:
        """Return an image [C,H,W] as uint8 RGB [H,W,3], clipped: the mean image is added back."""
        return self.preprocessing.to_pixels(self.tensor(image[None])[0])

    def image(self, pixels: NDArray[np.uint8]) -> Array:
        """Return the image [C,H,W] of uint8 RGB pixels [H,W,3]."""
        tensor, _ = self.preprocessing.replace(resize="none", size=None, crop=None).apply(pixels)
        values = tensor.astype(np.float64) / self.unit
        return np.moveaxis(values, -1, 0) if self._channels_last else values
