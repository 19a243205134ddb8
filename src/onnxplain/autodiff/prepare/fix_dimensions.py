"""Give dimensions that inputs name a number, everywhere in the model.

What a file states of inner shapes is set aside before, so that everything else follows from the inputs by inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from ...errors import InputError
from ..graph.inference import STATED
from ..graph.passes import Pass, Step, fired, graph_pass


def fix_dimensions(static: Mapping[str, int]) -> Pass[ir.Model]:
    """Return the pass that puts the numbers of ``static`` in the place of names of dimensions.

    The pass raises an InputError where no input has a dimension of that name.
    """

    @graph_pass(needs="names of open dimensions", ensures="the dimensions that were stated are numbers")
    def fix_dimensions(model: ir.Model) -> Iterator[Step]:
        _check(model, static)
        for graph in model.graphs():
            for value in [*graph.inputs, *graph.outputs, *(v for node in graph for v in node.outputs)]:
                before = value.shape
                if before is not None:
                    value.shape = _fixed(before, static)
                if STATED in value.meta:
                    value.meta[STATED] = _fixed(value.meta[STATED], static)
                if value.is_graph_input() and before != value.shape:
                    yield fired(value.name or "")

    return fix_dimensions


def _check(model: ir.Model, static: Mapping[str, int]) -> None:
    inputs = [value for value in model.graph.inputs if value.shape is not None]
    names = dict.fromkeys(str(d.value) for value in inputs for d in value.shape or () if not isinstance(d, int))
    for name in static:
        if name not in names:
            found = f"they are {', '.join(map(repr, names))}" if names else "all their dimensions are numbers"
            raise InputError(f"static names {name!r}, which is no open dimension of the model's inputs; {found}.")


def _fixed(shape: ir.Shape, static: Mapping[str, int]) -> ir.Shape:
    return ir.Shape([d if isinstance(d, int) else static.get(str(d.value), d) for d in shape])
