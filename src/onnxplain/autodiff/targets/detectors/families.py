"""Which family decodes the outputs of a layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir

from ....layout import Layout
from ...graph.emitter import Emitter
from ..score import Scores
from . import chosen, nanodet, pairs, rows, yunet
from .fields import Fields
from .reader import Reader

#: By the name of a layout: what reads it, its usual fields, and in words what it expects.
_FAMILIES: Mapping[str, tuple[Callable[[Reader], Scores], Mapping[str, Any], str]] = {
    **{name: (rows.rows, usual, rows.EXPECTS[name]) for name, usual in rows.USUAL.items()},
    **{name: (pairs.pairs, usual, pairs.EXPECTS[name]) for name, usual in pairs.USUAL.items()},
    **{name: (chosen.chosen, usual, chosen.EXPECTS[name]) for name, usual in chosen.USUAL.items()},
    "nanodet": (nanodet.nanodet, nanodet.USUAL, nanodet.EXPECTS),
    "yunet": (yunet.yunet, yunet.USUAL, yunet.EXPECTS),
}


def detections(emit: Emitter, model: ir.Model, layout: Layout, score: str) -> Scores:
    """The scores of all A detections, their boxes, and how sure the model is of each.

    ``score`` is "logit", which looks through a final softmax or sigmoid where classes are an output of their own, or
    "probability".

    Raises:
        InputError: the layout does not fit the outputs, or one of its fields makes no sense.
    """
    read, usual, expects = _FAMILIES[layout.name or ""]
    return read(Reader(emit, model.graph, Fields(layout, **usual), score, expects))
