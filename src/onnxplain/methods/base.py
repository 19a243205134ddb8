"""What an attribution method is: how an attribution is computed, and how it becomes a map.

A method is a small frozen dataclass: its fields are its options, with the defaults of its paper. It is handed the
:class:`~..model.attributor.Attributor` of a model and one micro-batch of inputs, and returns their attributions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from ..native import Normalization
from .helpers.maps import saliency

Array = NDArray[Any]

#: How an attribution becomes a map: "max_abs", the maximum over channels of |a|; "abs_sum", |sum over channels of a|;
#: "positive", max(a, 0) of an attribution that has no channels, or is summed over them.
Reduction = Literal["max_abs", "abs_sum", "positive"]


@dataclass(frozen=True)
class Method(ABC):
    """An attribution method; its fields are its options.

    - ``name``: what :meth:`Explainer.explain` calls it.
    - ``reduction``: how its attributions become maps.
    - ``gradients``: whether it needs a model with gradients; methods that only run the model forwards do not.
    """

    name: ClassVar[str]
    reduction: ClassVar[Reduction] = "max_abs"
    gradients: ClassVar[bool] = True

    @abstractmethod
    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        """Return the attributions of one micro-batch.

        Args:
            attributor: runs the model; :meth:`Attributor.attribute` is one forward and backward pass.
            feeds: the model's inputs, n samples, preprocessed.
            targets: class indices [n]; a negative one stands for the predicted class.

        Returns:
            One attribution [n, ...] for each of ``attributor.gradients``, in order (of ``attributor.perturbed``, if the
            method needs no gradients): shaped like it, or without its channel axis if not :attr:`has_channels`; the
            classes, their scores and those of all classes [n,K] are those of the unchanged inputs.
        """

    def ranked(
        self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64], top: int | None
    ) -> list[Attribution]:
        """Return :meth:`attribute` for ``targets`` and, with ``top``, for the classes that follow down to that rank."""
        first = self.attribute(attributor, feeds, targets)
        return [first, *(self.attribute(attributor, feeds, classes) for classes in first.next_classes(top))]

    def axes(self, attributor: Attributor) -> Mapping[str, int | None]:
        """Return the tensors that its attributions belong to, in their order, each with its channel axis.

        Raises:
            InputError: the method needs gradients, and the model has none.
        """
        if self.gradients and not attributor.signature.gradients:
            raise InputError(
                f"method {self.name!r} needs gradients, and the model was loaded without (gradients=False); "
                "use method='occlusion' or method='rise'."
            )
        return attributor.gradient_axes if self.gradients else attributor.input_axes

    @property
    def has_channels(self) -> bool:
        """Whether its attributions have the channel axis of the input."""
        return self.reduction != "positive"

    def map(
        self,
        attribution: Array,
        names: Sequence[str],
        *,
        channel_axis: int | None,
        normalize: Normalization = "max",
        percentile: float = 99.0,
        threads: int = 0,
    ) -> NDArray[np.float32]:
        """Return the maps of attributions [n, ...]: float32, without the channel axis, normalised for each sample.

        Args:
            attribution: as :meth:`attribute` returns it.
            names: what the n samples are called in errors.
            channel_axis: that of the input; None if it has none.
            normalize, percentile, threads: see :func:`onnxplain.native.saliency`.

        Raises:
            GradientError: NaN or infinity; the message names the sample.
        """
        return saliency(
            attribution,
            names,
            channel_axis=channel_axis if self.has_channels else None,
            reduction=self.reduction,
            normalize=normalize,
            percentile=percentile,
            threads=threads,
        )

    def for_maps(self, attributor: Attributor) -> Attributor:
        """Return ``attributor``, or one whose attributions come without channels, to run where only maps are wanted."""
        return attributor

    def signed_map(self, attribution: Array, channel_axis: int | None) -> Array | None:
        """Return the attributions [n, ...] summed over channels, where their sign means something, else None."""
        if self.reduction != "abs_sum":
            return None
        return attribution if channel_axis is None else attribution.sum(axis=channel_axis)
