"""From what is asked of a model to the scores that answer it."""

from __future__ import annotations

import onnx_ir as ir

from ...errors import InputError
from ...layout import Layout
from ..graph.emitter import Emitter
from .detectors.families import detections
from .output import find_output
from .score import Scores, scores_of


def explained(
    emit: Emitter,
    model: ir.Model,
    *,
    tensor: str | None,
    layout: Layout,
    score: str,
    class_axis: int | None,
    gradients: bool = True,
) -> Scores:
    """The scores of the output ``tensor``, or of the first float output; of a detector those of all its detections.

    Raises:
        InputError: no such tensor or axis, or the layout does not fit the outputs.
        ModelError: there is no float output, or its rank or batch axis is unknown.
    """
    with emit.scope("score"):
        if layout.detects:
            found = detections(emit, model, layout, score)
            if tensor not in (None, found.tensor):
                raise InputError(
                    f"the layout {layout.name!r} says that detections are explained, of {found.tensor!r}, and not the "
                    f"tensor {tensor!r}: leave its name out, or state another layout= for it."
                )
            return found
        output = find_output(model.graph, tensor, gradients=gradients)
        return scores_of(emit, output, layout, score, class_axis, gradients=gradients)
