"""What a user asks for: methods, metrics and targets by name, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError
from ..methods import Method, find_method
from ..pipeline.stream import Photo
from ..results.explanation import Explanation
from ..target import CLASS, Target, TargetLike
from .measures import AGREEMENTS, METRICS

#: Names of methods, methods with options chosen, or either under names of one's own.
Methods: TypeAlias = str | Sequence[str | Method] | Mapping[str, str | Method]

#: Not measured unless asked for: they take long, or say much the same as another.
_ON_REQUEST = ("infidelity", "max_sensitivity", "ssim")


def find_methods(methods: Methods) -> dict[str, Method]:
    """Methods by the names that they have in results.

    Raises:
        InputError: none, an unknown one, or two of one name.
    """
    if isinstance(methods, Mapping):
        found = {name: find_method(method, {}) for name, method in methods.items()}
    else:
        listed = [find_method(method, {}) for method in ([methods] if isinstance(methods, str) else methods)]
        found = {method.name: method for method in listed}
        if len(found) < len(listed):
            raise InputError("two of the methods have one name; pass a dict that gives each its own.")
    if not found:
        raise InputError("no method is named; name one at least.")
    return found


def is_of_classes(target: TargetLike) -> bool:
    """Whether a target, or each of several, asks for the score of a class, and of nothing more."""
    several = isinstance(target, (Sequence, np.ndarray)) and not isinstance(target, str)
    listed: Sequence[Any] = list(target) if several else [target]  # type: ignore[arg-type]
    plain = (one for one in listed if isinstance(one, Target))
    return all(one.kind == CLASS and one.output is None for one in plain)


def find_metrics(metrics: Sequence[str] | None, methods: int, masks: bool, classes: bool = True) -> list[str]:
    """Return the metrics to measure; None stands for those that this number of methods, with or without masks, allows.

    ``classes``: the scores of classes are explained; else nothing is measured that runs the model again.

    Raises:
        InputError: an unknown one, or one that needs masks or classes where there are none.
    """
    known = [*METRICS, *AGREEMENTS]
    needing = [name for name, metric in METRICS.items() if metric.needs_masks and not masks]
    asking = [name for name, metric in METRICS.items() if metric.asks_again and not classes]
    if metrics is None:
        left_out = {*_ON_REQUEST, *needing, *asking, *(AGREEMENTS if methods < 2 else ())}
        return [name for name in known if name not in left_out]
    names = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
    for name in names:
        if name not in known:
            raise InputError(f"metric {name!r} is unknown; there are {', '.join(known)}.")
        if name in needing:
            raise InputError(f"metric {name!r} needs the masks of the objects; pass masks=.")
        if name in asking:
            raise InputError(
                f"metric {name!r} measures the score of a class, and the target asks for another number; measure "
                "sparseness, the agreement of methods, or with masks where the energy is."
            )
    if not names:
        raise InputError(f"no metric is named; there are {', '.join(known)}.")
    return names


def micro_batch_targets(target: TargetLike, batch: Sequence[Photo]) -> Any:
    """Return the part of ``target`` that belongs to a micro-batch.

    Raises:
        InputError: there are fewer targets than photos.
    """
    if not isinstance(target, (Sequence, np.ndarray)) or isinstance(target, str):
        return target
    listed = list(target)
    if batch[-1].index >= len(listed):
        raise InputError(f"{batch[-1].name}: there are {len(listed)} targets; give one for each photo.")
    return [listed[photo.index] for photo in batch]


def held(target: Any, explanations: Sequence[Explanation]) -> list[Target]:
    """The target of each photo with the class that was explained; place and comparison stay."""
    listed = target if isinstance(target, list) else [target] * len(explanations)
    asked = [one if isinstance(one, Target) else Target(one) for one in listed]
    return [
        one if one.kind.form != "class" or one.column else replace(one, of=explanation.target)
        for one, explanation in zip(asked, explanations)
    ]
