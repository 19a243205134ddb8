"""From photos to explanations: what one thread does with some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from ..errors import GradientError, InputError, OnnxplainError
from ..methods import Method
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from ..model.question import Asked, Question, ask_all, sharing
from ..photos import Preprocessing
from ..results.explanation import Explanation
from ..results.explanations import Explanations
from ..results.record import Origin, options_of, question_of
from ..target import Target
from .attributions import answers, facts
from .detection import shown_place
from .stream import Outcome, Photo, load_photo, photo_name


@dataclass(frozen=True)
class PhotoExplainer:
    """Explains photos for what is asked of them by one method; called by several threads at once.

    ``asked`` has one target for each photo, or one for all of a number that is not known; ``origin`` is recorded in
    the explanations.
    """

    attributor: Attributor
    preprocessing: Preprocessing
    method: Method
    asked: Asked
    origin: Origin | None = None

    def __call__(self, photos: Sequence[tuple[int, Any]]) -> list[Outcome]:
        """Return what came of each of these numbered photos: its explanation (or a list of them), or an error.

        Raises:
            InputError: the attributions make no maps.
            TargetError, ProviderError: as for :func:`~.attributions.answers`.
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
        stacked = {self.attributor.inputs[0].name: np.stack([photo.tensor for photo in photos])}
        feeds = sharing(self.attributor, self.asked, stacked)
        geometries = [photo.geometry for photo in photos]
        questions = ask_all(self.attributor, self.asked, [photo.index for photo in photos], feeds, geometries)
        parts = answers(questions, self.method, feeds)
        for row, photo in enumerate(photos):
            asked = [targets[row] for targets in self.asked.of([one.index for one in photos])]
            try:
                found = [
                    self._explanation(question, photo, part, row, asked[number % len(asked)])
                    for number, (question, part) in enumerate(parts)
                ]
                outcomes[photo.index] = photo.name, Explanations(found) if self.asked.lists else found[0]
            except GradientError as error:
                outcomes[photo.index] = photo.name, error
        return outcomes

    def _explanation(
        self, question: Question, photo: Photo, part: Attribution, row: int, target: Target
    ) -> Explanation:
        method = self.method
        attribution, axis = part.attributions[0][row].copy(), next(iter(method.axes(question.attributor).values()))
        reduced = method.map(attribution[None], [photo.name], channel_axis=axis, threads=1)[0]
        if reduced.ndim != 2:
            raise InputError(f"an attribution of shape {list(attribution.shape)} makes no map [h,w]; use saliency().")
        signed = method.signed_map(attribution[None], axis)
        known = facts(question, method, part, row, row)
        return Explanation(
            image=photo.image,
            source=photo.source,
            attribution=attribution,
            saliency_input=reduced,
            signed_input=None if signed is None else signed[0].astype(np.float32),
            geometry=photo.geometry,
            **known,
            **shown_place(question, row, photo.geometry),
            origin=None if self.origin is None else self._origin(self.origin, target, known["target"]),
        )

    def _origin(self, origin: Origin, target: Target, index: int) -> Origin:
        class_of = self.attributor.classes.index
        return replace(origin, options=options_of(self.method), question=question_of(target, index, class_of))
