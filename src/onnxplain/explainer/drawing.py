"""What an explainer draws without a photo: the image that a class, or a channel of an inner tensor, likes best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from .answering import Answering
from .inputs import Classes, ClassIndex

if TYPE_CHECKING:
    from ..visualization import ClassVisualization


class Drawing(Answering):
    """A model that draws what its classes and channels like best."""

    @overload
    def visualize_class(
        self, target: ClassIndex | str, *, preset: str = "natural", **options: Any
    ) -> ClassVisualization: ...
    @overload
    def visualize_class(
        self, target: Classes, *, preset: str = "natural", **options: Any
    ) -> list[ClassVisualization]: ...
    def visualize_class(
        self, target: ClassIndex | str | Classes, *, preset: str = "natural", **options: Any
    ) -> ClassVisualization | list[ClassVisualization]:
        """Make the image that a class likes best: argmax over I of S_c(I) - lambda ||I||_2^2, by gradient ascent.

        Args:
            target: a class index or label, or a sequence of these.
            preset: "natural" for pictures that people recognise, "paper" for Simonyan et al. 2013, section 2.
            options: ``seed``, ``size``, ``every`` and ``progress``, see :class:`~.visualization.Drawing`;
                ``steps``, ``learning_rate``, ``l2`` and others, see :class:`~.visualization.Settings`.

        Returns:
            A :class:`~onnxplain.ClassVisualization`, or a list of them for several classes.

        Raises:
            InputError: an option is unknown or makes no sense; the model does not take one image of floats.
            TargetError: a class is out of range or an unknown label.
            PreprocessingError, GradientError, ProviderError: as for :meth:`explain`.
        """
        from ..visualization import draw_classes  # ten modules that no map needs

        return draw_classes(self._attributor, self.preprocessing.preprocessing, target, preset, options)

    @overload
    def visualize_neuron(self, neuron: str, *, preset: str = "natural", **options: Any) -> ClassVisualization: ...
    @overload
    def visualize_neuron(
        self, neuron: Sequence[str], *, preset: str = "natural", **options: Any
    ) -> list[ClassVisualization]: ...
    def visualize_neuron(
        self, neuron: str | Sequence[str], *, preset: str = "natural", **options: Any
    ) -> ClassVisualization | list[ClassVisualization]:
        """Make the image that a channel of an inner tensor likes best: the mean over its positions is in place of S_c.

        ``neuron`` is "tensor:channel", or a list of these, of any float tensor; else as :meth:`visualize_class`.
        """
        from ..visualization import draw_neurons

        return draw_neurons(self._attributor, self.preprocessing.preprocessing, neuron, preset, options)
