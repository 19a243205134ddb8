"""From what a family decodes to the scores of all detections: how sure the model is, classes, and named numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ...graph.emitter import Emitter
from ..head import find_head, probability_of
from ..score import Scores
from .boxes import column
from .reader import Reader


@dataclass(frozen=True)
class Classes:
    """Scores [N,A,K], how sure they make the model of every class [N,A,K], and how they become probabilities."""

    value: ir.Value
    confidence: ir.Value
    probability: str | None


def as_probabilities(emit: Emitter, numbers: ir.Value, activation: str | None) -> ir.Value:
    """``numbers`` [N,A,K], or what the sigmoid or softmax that the model leaves out makes of them."""
    if activation == "softmax":
        return emit.Softmax(numbers, axis=2)
    return emit.Sigmoid(numbers) if activation == "sigmoid" else numbers


def class_scores(reader: Reader, outputs: Sequence[ir.Value], activation: str | None) -> Classes:
    """The classes of outputs [N,A,K] of their own, one for each scale.

    With the score "logit" a final softmax or sigmoid is looked through. ``activation`` is what the model leaves out, if
    it does not end in one.
    """
    emit = reader.emit
    heads = [find_head(output) for output in outputs]
    found = reader.joined([reader.floats(output) for output in outputs])
    kinds = {(head.activation, head.logarithm) for head in heads}
    if kinds == {(None, False)}:
        confidence = as_probabilities(emit, found, activation)
        if activation is not None and reader.score == "logit":
            return Classes(found, confidence, activation)
        return Classes(confidence, confidence, "identity")
    confidence = emit.Exp(found) if kinds == {("softmax", True)} else found
    if reader.score != "logit" or len(kinds) != 1:
        return Classes(confidence, confidence, "identity")
    logits = reader.joined([reader.wide(head.scores(emit)) for head in heads])
    return Classes(logits, confidence, probability_of(outputs[0], heads[0], looked_through=True))


def of_objects(emit: Emitter, classes: ir.Value, objectness: ir.Value) -> Classes:
    """Objectness [N,A,1] times class [N,A,K], both probabilities: the product is one, too."""
    product = emit.Mul(objectness, classes)
    return Classes(product, product, "identity")


def box_columns(emit: Emitter, boxes: ir.Value) -> dict[str, ir.Value]:
    """What can be asked of boxes [N,A,4], each [N,A], in pixels."""
    x0, y0, x1, y1 = (column(emit, boxes, side) for side in range(4))
    return {
        "box.x0": x0,
        "box.y0": y0,
        "box.x1": x1,
        "box.y1": y1,
        "box.width": emit.Sub(x1, x0),
        "box.height": emit.Sub(y1, y0),
        "box.cx": emit.Mul(emit.Add(x0, x1), 0.5),
        "box.cy": emit.Mul(emit.Add(y0, y1), 0.5),
    }


def scores(
    reader: Reader,
    outputs: Sequence[ir.Value],
    classes: Classes,
    boxes: ir.Value,
    *,
    background: int | None = None,
    labels: ir.Value | None = None,
    points: Mapping[str, ir.Value] | None = None,
) -> Scores:
    """The scores of detections that are decoded.

    A ``background`` that is the last class is left out. Another one stays, so that the numbers of the classes are those
    of the model; nothing is sure of it, and it is never predicted.
    """
    emit = reader.emit
    value, confidence, probability = classes.value, classes.confidence, classes.probability
    assert value.shape is not None
    count, blank = value.shape[2], None
    if background is not None:
        if not isinstance(count, int) or not -count <= background < count:
            raise reader.refuse(f"background={background} is none of the {count} classes")
        blank = background % count
        if blank == count - 1:
            value, confidence = (emit.Slice(v, [0], [blank], [2]) for v in (value, confidence))
            probability, blank = None if probability == "softmax" else probability, None
        else:
            assert confidence.dtype is not None
            kept = np.arange(count) != blank
            confidence = emit.Mul(confidence, emit.constant(kept, confidence.dtype))
    names = dict.fromkeys(output.name or "" for output in outputs)
    columns = {**box_columns(emit, boxes), **(points or {})}
    if boxes.dtype != ir.DataType.FLOAT:
        boxes = emit.Cast(boxes, to=ir.DataType.FLOAT)
    return Scores(
        value,
        2,
        (1,),
        reader.fields.layout,
        probability,
        None,
        ", ".join(names),
        reader.samples(outputs[0]),
        boxes=boxes,
        confidence=confidence,
        blank=blank,
        labels=labels,
        columns=columns,
    )
