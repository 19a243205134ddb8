"""From photos to explanations: what one thread does with some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ..errors import GradientError, InputError, OnnxplainError
from ..methods import Method
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from ..model.question import Question, ask
from ..photos import Preprocessing
from ..results.explanation import Explanation
from ..results.explanations import Explanations
from ..target import Target
from .attributions import facts, ranked
from .stream import Outcome, Photo, load_photo, photo_name


@dataclass(frozen=True)
class PhotoExplainer:
    """Explains photos for given targets by one method; called by several threads at once.

    ``targets`` has one target for each photo, or one for all of a number that is not known; ``top`` is how many classes
    of each photo are explained, None for the target alone.
    """

    attributor: Attributor
    preprocessing: Preprocessing
    method: Method
    targets: Sequence[Target]
    top: int | None

    def __call__(self, photos: Sequence[tuple[int, Any]]) -> list[Outcome]:
        """Return what came of each of these numbered photos: its explanation (a list of ``top``), or an error.

        Raises:
            InputError: the attributions make no maps.
            TargetError, ProviderError: as for :func:`~.attributions.ranked`.
        """
        outcomes: dict[int, Outcome] = {}
        loaded: list[Photo] = []
        for index, source in photos:
            try:
                loaded.append(load_photo(index, source, self.preprocessing))
            except OnnxplainError as error:
                outcomes[index] = photo_name(index, source)[0], error
        for _, same in groupby(loaded, lambda photo: photo.tensor.shape):
            outcomes |= self._explained(list(same))
        return [outcomes[index] for index, _ in photos]

    def _explained(self, photos: list[Photo]) -> dict[int, Outcome]:
        """Return what came of photos with tensors of one shape."""
        outcomes: dict[int, Outcome] = {}
        feeds = {self.attributor.inputs[0].name: np.stack([photo.tensor for photo in photos])}
        asked = [self.targets[photo.index % len(self.targets)] for photo in photos]
        question = ask(self.attributor, asked, self.top, feeds, [photo.geometry for photo in photos])
        asks = question.attributor
        parts = ranked(asks, self.method, {**feeds, **question.feeds}, question.targets, self.top)
        for row, photo in enumerate(photos):
            try:
                found = [self._explanation(question, photo, part, row) for part in parts]
                outcomes[photo.index] = photo.name, found[0] if self.top is None else Explanations(found)
            except GradientError as error:
                outcomes[photo.index] = photo.name, error
        return outcomes

    def _explanation(self, question: Question, photo: Photo, part: Attribution, row: int) -> Explanation:
        method = self.method
        attribution, axis = part.attributions[0][row].copy(), next(iter(method.axes(question.attributor).values()))
        reduced = method.map(attribution[None], [photo.name], channel_axis=axis, threads=1)[0]
        if reduced.ndim != 2:
            raise InputError(f"an attribution of shape {list(attribution.shape)} makes no map [h,w]; use saliency().")
        signed = method.signed_map(attribution[None], axis)
        return Explanation(
            image=photo.image,
            source=photo.source,
            attribution=attribution,
            saliency_input=reduced,
            signed_input=None if signed is None else signed[0].astype(np.float32),
            geometry=photo.geometry,
            **facts(question, method, part, row, row),
        )
