"""A differentiated model in ONNX Runtime: class scores and raw attributions, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..autodiff.differentiated import DifferentiatedModel
from ..errors import ModelError
from ..runtime import BatchedSession
from .targets import Classes

Array = NDArray[Any]


@dataclass(frozen=True)
class Attribution:
    """What one micro-batch of n samples gives for one class each.

    ``gradients`` are the raw dS_c/dx, each [n, ...]; ``targets`` [n] the classes, ``scores`` [n] their scores,
    ``class_scores`` [n,K] those of all classes.
    """

    gradients: list[Array]
    targets: NDArray[np.int64]
    scores: Array
    class_scores: Array


class Attributor:
    """``model`` with its sessions, its classes and the gradients that have the batch axis."""

    def __init__(self, model: DifferentiatedModel, labels: Sequence[str] | None, **session: Any) -> None:
        """Load ``model``; ``session`` are the arguments of :class:`~onnxplain.runtime.BatchedSession`.

        Raises:
            ModelError: no gradient has the batch axis of the score.
            RuntimeMissingError, ProviderError, InputError: as for the session.
        """
        self.model = model
        self.classes = Classes(model.classes, labels)
        self.gradients = [g for g in model.gradients if g.source in model.batched]
        if not self.gradients:
            names = ", ".join(repr(i.name) for i in model.inputs)
            raise ModelError(f"no input ({names}) has the batch axis of the score; export the model with one.")
        batched = {*model.batched, model.target}
        self._options = {"fixed": model.batch, "batched": batched, "folder": model.folder, **session}
        self.session = BatchedSession(model.proto, **self._options)

    @cached_property
    def _forward(self) -> BatchedSession:
        return BatchedSession(self.model.scores_only(), **self._options)

    def class_scores(self, feeds: Mapping[str, Array]) -> NDArray[np.floating[Any]]:
        """The scores of all classes [N,K]."""
        parts = [self._forward.run(part, [self.model.class_scores])[0] for _, part in self._forward.split(feeds)]
        return np.concatenate(parts)

    def ranked(self, feeds: Mapping[str, Array], targets: NDArray[np.int64], top: int | None) -> list[Attribution]:
        """The attributions of one micro-batch: for its targets, or for the ``top`` best classes in turn.

        Args:
            feeds: the model's own inputs, n samples.
            targets: class indices [n]; ``PREDICTED`` for the class with the highest score.
            top: how many classes; the run for the predicted one also tells which come next.

        Raises:
            TargetError: a class is out of range.
            ProviderError: ONNX Runtime failed.
        """
        self._learn_classes(feeds, targets, top)
        first = self._attribute(feeds, targets)
        if top is None:
            return [first]
        order = np.argsort(-first.class_scores, axis=1, kind="stable")
        return [first, *(self._attribute(feeds, order[:, rank]) for rank in range(1, top))]

    def micro_batches(
        self, feeds: Mapping[str, Array], targets: NDArray[np.int64], top: int | None
    ) -> Iterator[tuple[int, list[Attribution]]]:
        """:meth:`ranked` over any number of samples, each with the number of its first sample."""
        for start, part in self.session.split({**feeds, self.model.target: targets}):
            yield start, self.ranked(part, part.pop(self.model.target), top)

    def _attribute(self, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        outputs = [self.model.score, self.model.class_scores, *(g.output for g in self.gradients)]
        scores, class_scores, *found = self.session.run({**feeds, self.model.target: targets}, outputs)
        chosen = np.where(targets < 0, np.argmax(class_scores, axis=1), targets)
        return Attribution(found, chosen, scores, class_scores)

    def _learn_classes(self, feeds: Mapping[str, Array], targets: NDArray[np.int64], top: int | None) -> None:
        """Ask the model how many classes it has where its shapes do not say, before a class is picked."""
        if self.classes.count is not None or (top is None and targets.max() < 0):
            return
        self.classes = replace(self.classes, count=int(self.class_scores(feeds).shape[1]))
        self.classes.check_count(top)
        self.classes.indices([int(t) for t in targets if t >= 0], int((targets >= 0).sum()))
