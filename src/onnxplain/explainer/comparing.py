"""Predicted versus expected: each photo explained for both classes and for their difference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from ..errors import OnnxplainError, TargetError
from ..pipeline.stream import OnError, photo_name
from ..results.comparison import Comparison
from ..results.explanation import Explanation
from ..target import Target

#: The class that is expected of every photo, or one for each.
Expected: TypeAlias = int | str | Sequence[int | str]


def compared(
    explain: Callable[[Any, Any], Any], sources: Iterable[Any], expected: Expected, on_error: OnError | None = None
) -> Iterator[Comparison]:
    """One comparison for each photo; ``explain`` takes a photo and its targets.

    With ``on_error`` a photo that cannot be read is skipped after calling it with the photo's name and the error.

    Raises:
        TargetError: an unknown class, or another number of classes than photos.
        As ``explain`` raises.
    """
    listed = list(sources)
    each = [expected] * len(listed) if isinstance(expected, (int, str, np.integer)) else list(expected)
    if len(each) != len(listed):
        raise TargetError(f"there are {len(each)} expected classes, but {len(listed)} photos; give one for each.")
    for index, (source, one) in enumerate(zip(listed, each)):
        try:
            yield _comparison(explain, source, one)
        except OnnxplainError as error:
            if on_error is None or isinstance(error, TargetError):
                raise
            on_error(photo_name(index, source)[0], error)


def _comparison(explain: Callable[[Any, Any], Any], source: Any, expected: int | str) -> Comparison:
    [predicted, wanted] = explain(source, [Target(), Target(expected)])
    if predicted.target == wanted.target:
        return Comparison(predicted, predicted, None)
    [difference] = explain(source, [Target(predicted.target, versus=wanted.target)])
    return Comparison(
        replace(predicted, role="predicted"), replace(wanted, role="expected"), _signed(difference, predicted, wanted)
    )


def _signed(difference: Explanation, predicted: Explanation, expected: Explanation) -> Explanation:
    """The difference with a signed map: of methods whose sign says nothing, that of the two maps, each with sum 1."""
    if difference.signed_input is not None:
        return difference
    shares = [one.saliency_input / max(float(one.saliency_input.sum()), 1e-30) for one in (predicted, expected)]
    return replace(difference, signed_input=shares[0] - shares[1])
