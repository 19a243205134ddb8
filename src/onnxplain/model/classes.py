"""Which class is explained: an index, a label, one of either for each sample, the predicted class, the top k."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..checks import check_unmasked
from ..errors import InputError, TargetError
from ..photos import find_label, resolve_labels
from ..photos.labels import LabelsLike

#: None: the predicted class; "top3": the three classes with the highest scores.
ClassTarget: TypeAlias = int | np.integer[Any] | str | Sequence[int | str] | NDArray[np.integer[Any]] | None

#: An index that stands for the class with the highest score.
PREDICTED = -1

_TOP = re.compile(r"top([1-9]\d*)", re.IGNORECASE)


@dataclass(frozen=True)
class Classes:
    """The classes of a model: how many (None: not fixed), and their names (None: not stated)."""

    count: int | None
    labels: Sequence[str] | None

    def top(self, target: ClassTarget) -> int | None:
        """k for "topk", None for any other target.

        Raises:
            TargetError: the model has fewer classes.
        """
        match = _TOP.fullmatch(target.strip()) if isinstance(target, str) else None
        k = None if match is None else int(match[1])
        self.check_count(k)
        return k

    def check_count(self, k: int | None) -> None:
        """Refuse more classes than there are.

        Raises:
            TargetError: with both numbers.
        """
        if k is not None and self.count is not None and k > self.count:
            raise TargetError(f"the target asks for the top {k} classes, but the model has {self.count}.")

    def indices(self, target: ClassTarget, samples: int) -> NDArray[np.int64]:
        """Return the class of each sample, int64 [samples]; ``PREDICTED`` where the model is to choose.

        Raises:
            TargetError: out of range, of another length than the samples, of another type, or an unknown
                label.
        """
        if target is None or self.top(target) is not None:
            return np.full(samples, PREDICTED, dtype=np.int64)
        if isinstance(target, (str, int, np.integer)) or np.ndim(target) == 0:
            return np.full(samples, self.index(target), dtype=np.int64)
        check_unmasked("target", target)
        if np.ndim(target) != 1 or len(target) != samples:
            raise TargetError(
                f"target has shape {list(np.shape(target))}, but there are {samples} samples; "
                "give one class, or one for each sample."
            )
        return np.array([self.index(one) for one in target], dtype=np.int64)

    def label(self, index: int) -> str | None:
        """Return the name of a class, None without labels."""
        return None if self.labels is None or index >= len(self.labels) else self.labels[index]

    def index(self, target: object) -> int:
        """The index of a class or label; ``PREDICTED`` for None.

        Raises:
            TargetError: out of range, of another type, or an unknown label.
        """
        if target is None:
            return PREDICTED
        if isinstance(target, str):
            if self.labels is None:
                raise TargetError(
                    f"target {target!r} is a label, but the model has no labels; give an index, or pass labels=."
                )
            return find_label(self.labels, target)
        value = target.item() if isinstance(target, (np.generic, np.ndarray)) and target.size == 1 else target
        if isinstance(value, bool) or not isinstance(value, int):
            raise TargetError(f"a target is a class index or a label; found {value!r} ({type(value).__name__}).")
        if value < 0 or (self.count is not None and value >= self.count):
            known = "0 or more" if self.count is None else f"0..{self.count - 1}"
            raise TargetError(f"target {value} is out of range: the class indices are {known}.")
        return value


def find_labels(
    labels: LabelsLike | None, *, required: bool, in_places: bool = False, **stated: Any
) -> list[str] | None:
    """Return the class names, given or as ``stated`` (see :func:`onnxplain.photos.resolve_labels`); None without any.

    Those stated beside a model are not ``required`` to fit an output of the caller's choice. An output with scores
    ``in_places`` may be a detector's, of which the layout says where its classes are.

    Raises:
        InputError: they do not fit the model.
    """
    try:
        return resolve_labels(labels, **stated)
    except InputError as error:
        if labels is None and not required:
            return None
        if in_places:
            raise InputError(f"{error} If the output is a detector's, state its layout= (--layout).") from error
        raise
