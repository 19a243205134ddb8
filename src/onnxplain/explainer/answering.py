"""What a model says of a photo besides scores: what a detector finds, and the vector that an embedding is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from ..errors import InputError
from ..model.inputs import check_inputs
from ..photos.load import ImageSource
from ..pipeline.detection import detections
from ..pipeline.stream import Photo, is_one, load_photo, photo_batches, photo_sources
from ..results.detection import Detection
from .inputs import Array, Arrays, Images
from .loaded import LoadedModel

if TYPE_CHECKING:
    from ..methods import Method
    from ..pipeline.samples import SampleExplainer


class Answering(LoadedModel):
    """A :class:`~.loaded.LoadedModel` that detects and embeds."""

    def detect(
        self,
        photo: ImageSource | Photo | Arrays,
        *,
        threshold: float = 0.25,
        overlap: float = 0.45,
        limit: int = 100,
    ) -> list[Detection]:
        """Return what a detector finds in a photo.

        Every row of the output counts as the class that it is surest of. Non-maximum suppression leaves out a row that
        overlaps a surer one of its class, unless the model's detections are different objects already ("yolov8_nms",
        "torchvision", "tensorflow", "detr", "rtdetr").

        Args:
            photo: as for :meth:`explain`; or the input tensor of one sample, [1, ...] with the rank of the model's
                input, or a dict of all inputs.
            threshold: the least score of a detection, 0..1.
            overlap: two detections of a class with a larger intersection over union are one, 0..1.
            limit: the greatest number of detections.

        Returns:
            A list of :class:`~onnxplain.results.detection.Detection`, the surest first; each is a target, for
            ``explain(photo, detection)``. Boxes are in the photo's own pixels: crop, padding and resize are undone;
            for a tensor they are in pixels of the model's input.

        Raises:
            InputError: the model is no detector (state ``Explainer(layout=...)``), several photos, a tensor that does
                not fit, or a number out of range.
            ImageError, PreprocessingError, ProviderError: as for :meth:`explain`.

        Example:
            >>> Explainer("yolov8n.onnx", layout="yolov8").detect("dog.jpg")[0]  # doctest: +SKIP
            <Detection of dog 91.5% at (60, 41, 213, 290), row 8131>
        """
        options: dict[str, Any] = {"threshold": threshold, "overlap": overlap, "limit": limit}
        if self._is_tensor(photo):
            feeds, _ = check_inputs(self._model, photo)
            return detections(self._attributor, feeds, None, **options)
        if not isinstance(photo, Photo) and not is_one(photo):
            raise InputError("detect: there are several photos; pass one at a time.")
        loaded = load_photo(0, photo, self.preprocessing.preprocessing)
        feeds = {self._model.inputs[0].name: loaded.tensor[None]}
        return detections(self._attributor, feeds, loaded.geometry, **options)

    def embed(self, x: ImageSource | Photo | Images | Arrays) -> Array:
        """Return the vector that the model makes of a sample, for ``Target(like=...)``.

        Args:
            x: one photo or several, as for :meth:`explain`; or an input tensor with the rank of the model's input, or a
                dict of all inputs.

        Returns:
            [D] for one sample, [N,D] for several: the output without its axes of one element, before a final softmax or
            sigmoid, as similarities are computed of it.

        Raises:
            InputError: the output is no vector, or a tensor does not fit the model.
            ImageError, PreprocessingError, ProviderError: as for :meth:`explain`.

        Example:
            >>> explainer.explain("a.jpg", Target(like=explainer.embed("b.jpg")))  # doctest: +SKIP
        """
        if self._model.places is not None:
            raise InputError(
                f"embed: the output {self._model.score_tensor!r} has scores at several places and is no vector; "
                "name a vector with Explainer(tensor=...), or state layout='embedding' if it is one."
            )
        if self._is_tensor(x):
            feeds, samples = check_inputs(self._model, x)
            found: Array = self._attributor.class_scores(feeds)
            return found[0] if samples == 1 else found
        one = isinstance(x, Photo) or is_one(x)
        batches = self._embedded([x] if isinstance(x, Photo) else photo_sources(x))
        rows = np.concatenate(list(batches))
        return rows[0] if one else rows

    def sample_explainer(
        self, method: Method, *, top: int | None = None, maps: bool = True, gradients: bool = False
    ) -> SampleExplainer:
        """Return what answers questions of several callers about samples of one shape together, as a service does.

        Args:
            method: computes the attributions.
            top: the number of best classes that are explained in turn; None: the target of each sample.
            maps, gradients: whether these are wanted; without both the model runs forwards alone.

        Returns:
            A function of samples (:class:`~onnxplain.pipeline.samples.Sample`) whose questions are of one kind.
        """
        from ..pipeline.samples import SampleExplainer

        return SampleExplainer(self._attributor, method, top, maps, gradients, self._threads)

    def check_inputs(self, x: Arrays) -> tuple[dict[str, Array], int]:
        """Return ``x`` as an array for every input of the model, and the number of samples.

        Raises:
            InputError: a name, rank, extent or type does not fit, or a value is NaN or infinite.
        """
        return check_inputs(self._model, x)

    def _embedded(self, sources: Iterable[Any]) -> Iterable[Array]:
        name = self._model.inputs[0].name

        def size(tensor: Array) -> int:
            return self._attributor.size({name: tensor[None]})

        for photos in photo_batches(sources, self.preprocessing.preprocessing, size, None):
            yield self._attributor.class_scores({name: np.stack([photo.tensor for photo in photos])})

    def _is_tensor(self, x: object) -> TypeGuard[Arrays]:
        """Whether ``x`` is what the model takes, and no photo."""
        rank = len(self._model.inputs[0].shape)
        return isinstance(x, Mapping) or (isinstance(x, np.ndarray) and x.ndim == rank)
