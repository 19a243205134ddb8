"""From samples of several callers, each with a question of its own, to scores, maps and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GradientError, OnnxplainError, StoppedError
from ..methods import Method
from ..methods.helpers.maps import check_finite
from ..model.attribution import Attribution, picked
from ..model.attributor import Attributor
from ..model.question import Question, ask
from ..target import Target
from .attributions import facts, micro_batches
from .detection import shown_place

if TYPE_CHECKING:
    from ..photos import Geometry

Array = NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """One sample, and what is asked about it.

    - ``feeds``: every input of the model by its name, with a batch axis of one where it has one.
    - ``target``: the number that is explained.
    - ``geometry``: that of a photo, in whose pixels boxes, points and masks are; None: in those of the model's input.
    """

    feeds: Mapping[str, Array]
    target: Target
    geometry: Geometry | None = None


@dataclass(frozen=True)
class SampleAnswer:
    """What was found out about one sample and one class.

    - ``facts``: the fields of an :class:`~onnxplain.Explanation` that are no arrays: class, label, score and others.
    - ``place``: of a photo, its fields ``box`` and ``region``.
    - ``gradients``: the attributions by their tensor, without the batch axis; empty unless they were wanted.
    - ``maps``, ``signed``: the saliency maps, float32 and 0..1, and those with a sign (None where it says nothing).
    """

    facts: Mapping[str, Any]
    place: Mapping[str, Any]
    gradients: Mapping[str, Array]
    maps: Mapping[str, NDArray[np.float32]]
    signed: Mapping[str, NDArray[np.float32] | None]


#: The answers about one sample, one for each class that was asked for, or what was wrong with it.
SampleOutcome = list[SampleAnswer] | OnnxplainError


@dataclass(frozen=True)
class SampleExplainer:
    """Answers questions of one kind about samples of one shape, together.

    - ``top``: the number of best classes that every sample is explained for in turn; None: its target alone.
    - ``maps``, ``gradients``: whether these are wanted; without both the model runs forwards alone.
    """

    attributor: Attributor
    method: Method
    top: int | None = None
    maps: bool = True
    gradients: bool = False
    threads: int = 0

    def __call__(self, samples: Sequence[Sample]) -> list[SampleOutcome]:
        """Return what came of each sample; an error of one is that of the others only where none can be told apart.

        Raises:
            StoppedError: somebody ended it.
        """
        try:
            return self._together(samples)
        except StoppedError:
            raise
        except OnnxplainError as error:
            if len(samples) == 1:
                return [error]
            return [outcome for sample in samples for outcome in self([sample])]

    @property
    def joins(self) -> bool:
        """Whether samples of several callers may run together, without one being seen in the answer of another."""
        return not (self.attributor.signature.whole or self.shared)

    @property
    def shared(self) -> frozenset[str]:
        """The inputs without a batch axis, which all samples of a run have in common."""
        signature = self.attributor.signature
        return frozenset(one.name for one in signature.inputs if one.name not in signature.batched)

    def _together(self, samples: Sequence[Sample]) -> list[SampleOutcome]:
        feeds = self._joined(samples)
        geometries = [sample.geometry for sample in samples if sample.geometry is not None]
        targets = [sample.target for sample in samples]
        question = ask(self.attributor, targets, self.top, feeds, geometries or None)
        found: list[SampleOutcome] = []
        if not (self.maps or self.gradients) and question.number is None:
            parts = self._scored(question, feeds)
            return [self._answers(question, parts, row, row, samples[row]) for row in range(len(samples))]
        only_maps = not self.gradients
        for start, answers in micro_batches([question], self.method, feeds, maps=only_maps):
            parts = [part for _, part in answers]
            asked = self.method.for_maps(question.attributor) if only_maps else question.attributor
            axes = self.method.axes(asked)
            reduced = [self._reduced(part, axes) for part in parts] if self.maps else None
            for row in range(len(parts[0].scores)):
                found.append(self._guarded(question, parts, row, start + row, samples[start + row], axes, reduced))
        return found

    def _joined(self, samples: Sequence[Sample]) -> dict[str, Array]:
        batched = self.attributor.batched
        return {
            name: np.concatenate([sample.feeds[name] for sample in samples]) if name in batched else array
            for name, array in samples[0].feeds.items()
        }

    def _scored(self, question: Question, feeds: Mapping[str, Array]) -> list[Attribution]:
        """The scores alone, without a gradient."""
        asked, fed = question.attributor, {**feeds, **question.feeds}
        asked.check_targets(fed, question.targets, question.top)
        scores = asked.class_scores(fed)
        targets = np.where(question.targets < 0, asked.predicted(scores), question.targets)
        first = Attribution([], targets, picked(scores, targets), scores, {})
        return [first, *(first.of(classes, []) for classes in first.next_classes(question.top))]

    def _reduced(self, part: Attribution, axes: Mapping[str, int | None]) -> list[Array] | None:
        """The maps of all samples of a micro-batch; None where those of one cannot be made."""
        names = [f"sample {row}" for row in range(len(part.scores))]
        try:
            return [
                self.method.map(values, names, channel_axis=axis, threads=self.threads)
                for values, axis in zip(part.attributions, axes.values())
            ]
        except GradientError:
            return None

    def _guarded(
        self,
        question: Question,
        parts: Sequence[Attribution],
        row: int,
        number: int,
        sample: Sample,
        axes: Mapping[str, int | None],
        reduced: Sequence[list[Array] | None] | None,
    ) -> SampleOutcome:
        try:
            return self._answers(question, parts, row, number, sample, axes, reduced)
        except GradientError as error:
            return error

    def _answers(
        self,
        question: Question,
        parts: Sequence[Attribution],
        row: int,
        number: int,
        sample: Sample,
        axes: Mapping[str, int | None] | None = None,
        reduced: Sequence[list[Array] | None] | None = None,
    ) -> list[SampleAnswer]:
        """The answers about sample ``row`` of a micro-batch, which is the question's ``number``."""
        place = {} if sample.geometry is None else shown_place(question, number, sample.geometry)
        found = []
        for index, part in enumerate(parts):
            gradients, maps, signed = {}, {}, {}
            for position, (tensor, axis) in enumerate((axes or {}).items()):
                values = part.attributions[position][row]
                if self.gradients:
                    check_finite(values[None], ["the sample"])
                    gradients[tensor] = values.copy()
                if self.maps:
                    done = None if reduced is None else reduced[index]
                    maps[tensor] = self._map(values, axis) if done is None else done[position][row]
                    one = self.method.signed_map(values[None], axis)
                    signed[tensor] = None if one is None else one[0].astype(np.float32)
            known = facts(question, self.method, part, row, number)
            found.append(SampleAnswer(known, place, gradients, maps, signed))
        return found

    def _map(self, values: Array, axis: int | None) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.method.map(values[None], ["the sample"], channel_axis=axis, threads=1)[0]
        return found
