"""The scores of all classes as a part of the graph: [N,K], at the place that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from ...errors import InputError
from ...layout import Layout
from ...target import Place
from ..graph.emitter import Emitter
from .axes import find_axes
from .classifier_scores import are_probabilities, classifier_scores
from .head import Head, find_head, probability_of
from .output import Output

#: Makes an input of the graph: its role, which is its name if that is free, its type, and its shape.
NewInput = Callable[[str, ir.DataType, ir.Shape], ir.Value]


@dataclass(frozen=True)
class Scores:
    """The scores of an output: ``value`` has the batch first, one-element axes but that of the classes left out.

    ``class_axis`` and ``places`` are axes of ``value``; ``class_axis`` is None where there is one score at each place.
    ``layout`` is the name of what the axes mean; ``probability`` says how scores become probabilities (see
    :func:`~.head.probability_of`); ``output_axis`` is the class axis of the output as the model has it, ``tensor`` the
    name of what is explained; ``batch`` is the extent of the batch. Detectors have ``boxes`` [N,A,4] (x0, y0, x1, y1 in
    pixels of the input) and how sure they are of every class, ``confidence`` [N,A,K]; those that the model chose itself
    the class of each, ``labels`` [N,A]; ``columns`` [N,A] are further numbers of a detection, by name.
    """

    value: ir.Value
    class_axis: int | None
    places: tuple[int, ...]
    layout: str
    probability: str | None
    output_axis: int | None
    tensor: str
    batch: int | ir.SymbolicDim
    boxes: ir.Value | None = None
    confidence: ir.Value | None = None
    blank: int | None = None
    labels: ir.Value | None = None
    columns: Mapping[str, ir.Value] = field(default_factory=dict)

    @property
    def extents(self) -> list[int | ir.SymbolicDim]:
        """The extents of the places."""
        assert self.value.shape is not None
        return [self.value.shape[axis] for axis in self.places]

    @property
    def classes(self) -> int | ir.SymbolicDim:
        """How many classes there are."""
        assert self.value.shape is not None
        return 1 if self.class_axis is None else self.value.shape[self.class_axis]


def scores_of(
    emit: Emitter, output: Output, layout: Layout, score: str, class_axis: int | None, *, gradients: bool = True
) -> Scores:
    """The scores of an output that has no boxes.

    Without ``gradients`` the score of a classifier of ai.onnx.ml is the probability that it returns. ``score`` is
    "logit", which looks through a final softmax or sigmoid, or "probability".

    Raises:
        InputError: an axis that the output does not have.
        ModelError: the output's rank or batch axis is unknown.
    """
    graph = emit.graph
    if gradients and score == "logit" and (found := classifier_scores(emit, output.value)) is not None:
        value, probability = found
        samples = find_axes(graph, output.value, Head(output.value), layout, None).samples
        return Scores(value, 1, (), "classes", probability, 1, value.name or "", samples)
    head = find_head(output.value)
    axes = find_axes(graph, output.value, head, layout, class_axis)
    looked_through = score == "logit" and head.activation is not None
    value = head.scores(emit) if looked_through else output.in_floats(emit)
    tensor = value.name or ""
    meaning = probability_of(output.value, head, looked_through=looked_through)
    if are_probabilities(output.value):
        meaning = "identity"
    spread = "segmentation" if head.activation is not None else "map"
    usual = "classes" if not axes.places else "sequence" if len(axes.places) == 1 else spread
    blank = _blank(layout, value, axes.classes)
    made = Scores(
        value, axes.classes, axes.places, layout.name or usual, meaning, axes.classes, tensor, axes.samples, blank=blank
    )
    return _batch_first(emit, made, axes.batch)


def _blank(layout: Layout, value: ir.Value, class_axis: int | None) -> int | None:
    """The blank of "ctc": as stated, else the last class."""
    if layout.name != "ctc" or class_axis is None or value.shape is None:
        return None
    classes = value.shape[class_axis]
    blank = layout.fields.get("blank", -1)
    if (
        not isinstance(classes, int)
        or isinstance(blank, bool)
        or not isinstance(blank, int)
        or not -classes <= blank < classes
    ):
        raise InputError(f"layout 'ctc': blank={blank!r} is none of the {classes} classes.")
    return blank % classes


def _batch_first(emit: Emitter, scores: Scores, batch: int | None) -> Scores:
    """The scores with the batch as their first axis, without one-element axes that are neither batch nor classes."""
    value = scores.value
    assert value.shape is not None
    rank = len(value.shape)
    kept = [axis for axis in range(rank) if axis in (scores.class_axis, *scores.places)]
    gone = [axis for axis in range(rank) if axis not in (batch, *kept)]
    order = kept if batch is None else [batch, *kept]
    if gone:
        value = emit.Squeeze(value, gone)
    ranked = sorted(order)
    if order != ranked:
        value = emit.Transpose(value, perm=[ranked.index(axis) for axis in order])
    if batch is None:
        value = emit.Unsqueeze(value, [0])
    moved = {axis: index + 1 for index, axis in enumerate(kept)}
    return replace(
        scores,
        value=value,
        class_axis=None if scores.class_axis is None else moved[scores.class_axis],
        places=tuple(moved[axis] for axis in scores.places),
    )


def default_place(scores: Scores) -> Place:
    """Where scores are taken if unstated: nowhere in particular, at the surest detection, in the class's own region.

    Raises:
        InputError: the output has places, and no layout says which one is meant.
    """
    if not scores.places:
        return None
    if scores.boxes is not None:
        return "best"
    if scores.layout == "segmentation":
        return "own"
    extents = ", ".join(map(str, scores.extents))
    if scores.layout in ("sequence", "ctc"):
        raise InputError(
            f"the output {scores.tensor!r} has a score of every class at each of {extents} steps: say which step, "
            "Target(..., at=0), or at='all' for the sum over all steps."
        )
    raise InputError(
        f"the output {scores.tensor!r} has a score of every class at each of [{extents}] places, and nothing says what "
        "they are: state layout='segmentation' or that of a detector, or where: Target(..., at=(row, column)), a mask, "
        "or at='all' for the sum over all places."
    )


def at_place(
    emit: Emitter, scores: Scores, place: Place, target: ir.Value | None, new_input: NewInput, prefix: str = ""
) -> tuple[ir.Value, ir.Value | None]:
    """The scores of all classes [N,K] at a place, and that place where the graph chooses it.

    Raises:
        InputError: the output has no such places.
    """
    if place is None or not scores.places:
        if place not in (None, "all"):
            raise InputError(f"the output {scores.tensor!r} has one score a class and no places; leave out at=.")
        return _columns(emit, scores, scores.value), None
    if place == "all":
        return _columns(emit, scores, emit.ReduceSum(scores.value, list(scores.places), keepdims=0)), None
    if place == "region":
        shape = ir.Shape([scores.batch, *scores.extents])
        return _within(emit, scores, new_input(f"{prefix}region", ir.DataType.FLOAT, shape)), None
    if place == "own":
        region = _own_region(emit, scores, target)
        return _within(emit, scores, region), region
    if len(scores.places) != 1:
        raise InputError(
            f"the output {scores.tensor!r} has rows and columns; give at=(row, column), a mask, 'own' or 'all'."
        )
    if place == "position":
        position = new_input(f"{prefix}position", ir.DataType.INT64, ir.Shape([scores.batch, 1]))
        return _at_position(emit, scores, checked(emit, position, emit.dim(scores.value, scores.places[0]))), None
    box = new_input(f"{prefix}box", ir.DataType.FLOAT, ir.Shape([scores.batch, 4])) if place == "box" else None
    position = _best_position(emit, scores, target, box)
    return _at_position(emit, scores, position), position


def checked(emit: Emitter, index: ir.Value, extent: ir.Value | int) -> ir.Value:
    """``index``; a negative one becomes ``extent``, so that runtimes refuse it instead of counting from the end."""
    limit = emit.constant(extent, ir.DataType.INT64) if isinstance(extent, int) else emit.Squeeze(extent, [0])
    return emit.Where(emit.Less(index, emit.constant(0, ir.DataType.INT64)), limit, index)


def _columns(emit: Emitter, scores: Scores, value: ir.Value) -> ir.Value:
    """[N,K] of [N,K], or of [N] as one column."""
    return emit.Unsqueeze(value, [1]) if scores.class_axis is None else value


def _within(emit: Emitter, scores: Scores, region: ir.Value) -> ir.Value:
    """The sum of the scores over places, each times its weight in ``region`` [N, places]."""
    weights = region if region.dtype == scores.value.dtype else emit.Cast(region, to=scores.value.dtype)
    if scores.class_axis is not None:
        weights = emit.Unsqueeze(weights, [scores.class_axis])
    return _columns(emit, scores, emit.ReduceSum(emit.Mul(scores.value, weights), list(scores.places), keepdims=0))


def _own_region(emit: Emitter, scores: Scores, target: ir.Value | None) -> ir.Value:
    """1.0 where the target is the class with the highest score (of a single class: likelier than not), else 0.0."""
    if scores.classes == 1:
        value = scores.value if scores.class_axis is None else emit.Squeeze(scores.value, [scores.class_axis])
        mine = emit.Greater(value, 0.5 if scores.probability == "identity" else 0.0)
    else:
        assert target is not None and scores.class_axis is not None
        best = emit.ArgMax(scores.value, axis=scores.class_axis, keepdims=0)
        mine = emit.Equal(best, emit.Unsqueeze(target, list(range(1, 1 + len(scores.places)))))
    return emit.Cast(mine, to=ir.DataType.FLOAT)


def _at_position(emit: Emitter, scores: Scores, position: ir.Value) -> ir.Value:
    """The scores at one place a sample, ``position`` [N,1] on the only axis of places."""
    axis = scores.places[0]
    if scores.class_axis is None:
        return emit.GatherElements(scores.value, position, axis=axis)
    index = emit.Unsqueeze(position, [scores.class_axis])
    ones = emit.constant(1, ir.DataType.INT64)
    extents = [ones, ones, ones]
    extents[scores.class_axis] = emit.dim(scores.value, scores.class_axis)
    shape = emit.Concat(*(emit.Reshape(extent, [1]) for extent in extents), axis=0)
    return emit.Squeeze(emit.GatherElements(scores.value, emit.Expand(index, shape), axis=axis), [axis])


def _best_position(emit: Emitter, scores: Scores, target: ir.Value | None, box: ir.Value | None) -> ir.Value:
    """Where the target is surest, times the overlap with ``box`` [N,4] if there is one: int64 [N,1]."""
    sure = scores.value if scores.confidence is None else scores.confidence
    axis = scores.class_axis if scores.confidence is None or scores.class_axis is None else 2
    if axis is not None:
        assert target is not None
        place = 3 - axis  # [N,A,K] or [N,K,A]
        index = emit.Unsqueeze(target, [1, 2])
        ones = [emit.constant([1], ir.DataType.INT64)] * 3
        ones[place] = emit.dim(sure, place)
        sure = emit.Squeeze(
            emit.GatherElements(sure, emit.Expand(index, emit.Concat(*ones, axis=0)), axis=axis), [axis]
        )
    if box is not None:
        if scores.boxes is None:
            raise InputError(f"the output {scores.tensor!r} has no boxes; a Box is for detectors (see layout=).")
        sure = emit.Mul(emit.Cast(sure, to=ir.DataType.FLOAT), overlap(emit, scores.boxes, box))
    return emit.ArgMax(sure, axis=1, keepdims=1)


def overlap(emit: Emitter, boxes: ir.Value, box: ir.Value) -> ir.Value:
    """The intersection over the union [N,A] of boxes [N,A,4] with one box [N,4] a sample."""
    one = emit.Unsqueeze(box, [1])
    low = emit.Max(_corner(emit, boxes, 0), _corner(emit, one, 0))
    high = emit.Min(_corner(emit, boxes, 2), _corner(emit, one, 2))
    shared = _area(emit, emit.Max(emit.Sub(high, low), 0.0))
    areas = [_area(emit, emit.Sub(_corner(emit, b, 2), _corner(emit, b, 0))) for b in (boxes, one)]
    return emit.Div(shared, emit.Max(emit.Sub(emit.Add(*areas), shared), 1e-9))


def _corner(emit: Emitter, boxes: ir.Value, start: int) -> ir.Value:
    return emit.Slice(boxes, [start], [start + 2], [2])


def _area(emit: Emitter, sides: ir.Value) -> ir.Value:
    return emit.ReduceProd(sides, [2], keepdims=0)
