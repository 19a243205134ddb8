"""The question as a part of the graph: the score of every sample, [N], and where the walk starts.

Score and start are made of standard operators, with inputs of their own. For one class the walk starts at the scores of
all classes [N,K] with a one-hot cotangent, which is the derivative of picking one; for everything else it starts at the
score itself, with ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ...errors import InputError
from ...target import Kind
from ..graph.emitter import Emitter
from .score import NewInput, Scores, at_place, checked

#: Classes whose numbers are put into the file; more are counted when it runs.
_MOST_COUNTED = 1 << 20


@dataclass(frozen=True)
class Question:
    """A score, and the cotangent ``start`` of ``value`` from which the walk goes back to the inputs.

    ``class_scores`` [N,K] is what the class is picked from, ``index`` [N] the class that is picked; ``at`` the place
    that the graph chose, None where it was given.
    """

    value: ir.Value
    start: ir.Value
    score: ir.Value
    class_scores: ir.Value
    index: ir.Value | None
    at: ir.Value | None


def ask(
    emit: Emitter, scores: Scores, kind: Kind, new_input: NewInput, *, predict: bool, blank: int | None
) -> Question:
    """The question of a kind about ``scores``.

    With ``predict`` a negative target stands for the class with the highest score (the first of equals, never the class
    ``blank``), and every kind has the input ``target``; without, a negative target is out of range.

    Raises:
        InputError: the output has no such place.
    """
    if kind.form != "class":
        column = _whole(emit, scores, kind, new_input)
        if isinstance(kind.versus, Kind):
            column = emit.Sub(column, emit.Unsqueeze(_other(emit, scores, kind.versus, new_input)[0], [1]))
        index = _index(emit, column, new_input, scores, predict, None) if predict else None
        return _single(emit, column, index, None)
    if kind.column is not None:
        column, at = at_place(emit, _column(emit, scores, kind.column), kind.place, None, new_input)
        index = _index(emit, column, new_input, scores, predict, None) if predict else None
        return _single(emit, column, index, at)
    raw = new_input("target", ir.DataType.INT64, ir.Shape([scores.batch]))
    class_scores, at = at_place(emit, scores, kind.place, raw, new_input)
    index = _chosen(emit, class_scores, raw, predict, blank)
    if kind.versus is None:
        return _picked(emit, class_scores, index, at, None)
    if kind.versus == "class":
        contrast = new_input("contrast", ir.DataType.INT64, ir.Shape([scores.batch]))
        return _picked(emit, class_scores, index, at, checked(emit, contrast, _count(emit, class_scores)))
    other, _ = _other(emit, scores, kind.versus, new_input)
    score = emit.Sub(pick(emit, class_scores, index), other)
    return Question(score, _ones(emit, score), score, class_scores, index, at)


def _column(emit: Emitter, scores: Scores, name: str) -> Scores:
    """A named number of every detection, which is as sure as it is of its surest class."""
    if name not in scores.columns:
        known = f"it has {', '.join(scores.columns)}" if scores.columns else "a detector's has (see layout=)"
        raise InputError(f"the output {scores.tensor!r} has no number {name!r} of a detection; {known}.")
    assert scores.confidence is not None
    sure = emit.ReduceMax(scores.confidence, [2], keepdims=0)
    return replace(scores, value=scores.columns[name], class_axis=None, probability=None, confidence=sure)


def pick(emit: Emitter, class_scores: ir.Value, index: ir.Value) -> ir.Value:
    """The scores [N] of the classes ``index`` [N]; a runtime refuses one out of range."""
    return emit.Squeeze(emit.GatherElements(class_scores, emit.Unsqueeze(index, [1]), axis=1), [1])


def _other(emit: Emitter, scores: Scores, kind: Kind, new_input: NewInput) -> tuple[ir.Value, ir.Value | None]:
    """The score [N] that is subtracted, with inputs whose names begin with "contrast"."""
    if kind.versus is not None:
        raise InputError("the target that is subtracted has a versus= of its own; subtract one target only.")
    if kind.form != "class":
        return emit.Squeeze(_whole(emit, scores, kind, new_input, "contrast_"), [1]), None
    raw = new_input("contrast", ir.DataType.INT64, ir.Shape([scores.batch]))
    class_scores, at = at_place(emit, scores, kind.place, raw, new_input, "contrast_")
    return pick(emit, class_scores, checked(emit, raw, _count(emit, class_scores))), at


def _whole(emit: Emitter, scores: Scores, kind: Kind, new_input: NewInput, prefix: str = "") -> ir.Value:
    """One score [N,1] of the whole output: a cosine with a reference, or a sum with weights."""
    value = scores.value
    assert value.shape is not None
    axes = list(range(1, len(value.shape)))
    if kind.form == "weights":
        name, shape = "cotangent", ir.Shape([scores.batch, *list(value.shape)[1:]])
    else:
        extents = [d for d in list(value.shape)[1:] if d != 1]
        if not extents:
            raise InputError(
                f"the output {scores.tensor!r} is one number for each sample: its cosine with another is 1 or -1, and "
                "nothing explains that; state tensor=."
            )
        if len(extents) > 1:
            raise InputError(f"the output {scores.tensor!r} is no vector, so that nothing is like it; state tensor=.")
        name, shape = "reference", ir.Shape([scores.batch, *extents])
        value = emit.Reshape(value, emit.vector([-1, emit.extent(value, axes[-1])])) if len(axes) > 1 else value
        axes = [1]
    given = new_input(f"{prefix}{name}", ir.DataType.FLOAT, shape)
    weights = given if given.dtype == value.dtype else emit.Cast(given, to=value.dtype)
    if not axes:
        return emit.Unsqueeze(emit.Mul(value, weights), [1])
    product = emit.ReduceSum(emit.Mul(value, weights), axes, keepdims=0)
    if kind.form == "like":
        squares = [emit.ReduceSum(emit.Mul(v, v), [1], keepdims=0) for v in (value, weights)]
        product = emit.Div(product, emit.Sqrt(emit.Mul(*squares)))
    return emit.Unsqueeze(product, [1])


def _index(
    emit: Emitter, class_scores: ir.Value, new_input: NewInput, scores: Scores, predict: bool, blank: int | None
) -> ir.Value:
    raw = new_input("target", ir.DataType.INT64, ir.Shape([scores.batch]))
    return _chosen(emit, class_scores, raw, predict, blank)


def _chosen(emit: Emitter, class_scores: ir.Value, raw: ir.Value, predict: bool, blank: int | None) -> ir.Value:
    """The class [N] that is picked for ``raw``."""
    if not predict:
        return checked(emit, raw, _count(emit, class_scores))
    return emit.Where(emit.Less(raw, emit.constant(0, ir.DataType.INT64)), predicted(emit, class_scores, blank), raw)


def predicted(emit: Emitter, class_scores: ir.Value, blank: int | None) -> ir.Value:
    """The class [N] with the highest score, never ``blank``."""
    wide = class_scores.dtype
    if wide in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        class_scores = emit.Cast(class_scores, to=ir.DataType.FLOAT)
    if blank is not None:
        assert class_scores.shape is not None and isinstance(class_scores.shape[1], int)
        is_blank = emit.constant(np.arange(class_scores.shape[1]) == blank)
        least = emit.constant(float(np.finfo(np.float32).min), class_scores.dtype)
        class_scores = emit.Where(is_blank, least, class_scores)
    return emit.ArgMax(class_scores, axis=1, keepdims=0)


def _count(emit: Emitter, class_scores: ir.Value) -> ir.Value | int:
    return emit.extent(class_scores, 1)


def _picked(
    emit: Emitter, class_scores: ir.Value, index: ir.Value, at: ir.Value | None, contrast: ir.Value | None
) -> Question:
    """The score of one class, or less that of another."""
    start, score = _one_hot(emit, index, class_scores), pick(emit, class_scores, index)
    if contrast is not None:
        start = emit.Sub(start, _one_hot(emit, contrast, class_scores))
        score = emit.Sub(score, pick(emit, class_scores, contrast))
    return Question(class_scores, start, score, class_scores, index, at)


def _single(emit: Emitter, column: ir.Value, index: ir.Value | None, at: ir.Value | None) -> Question:
    score = emit.Squeeze(column, [1]) if index is None else pick(emit, column, index)
    return Question(column, _ones(emit, column), score, column, index, at)


def _ones(emit: Emitter, value: ir.Value) -> ir.Value:
    assert value.dtype is not None
    return emit.Cast(emit.ConstantOfShape(emit.shape(value), value=ir.tensor(np.ones(1, np.float32))), to=value.dtype)


def _one_hot(emit: Emitter, index: ir.Value, class_scores: ir.Value) -> ir.Value:
    """[N,K]: one at the class, zero elsewhere."""
    extent = emit.extent(class_scores, 1)
    if isinstance(extent, int) and extent <= _MOST_COUNTED:
        classes = emit.constant(np.arange(extent, dtype=np.int64))
    else:
        one = emit.constant(1, ir.DataType.INT64)
        classes = emit.Range(emit.constant(0, ir.DataType.INT64), emit.Squeeze(emit.dim(class_scores, 1), [0]), one)
    return emit.Cast(emit.Equal(emit.Unsqueeze(index, [1]), classes), to=class_scores.dtype)
