"""Windows with automatic padding that follows from known extents get it as numbers: auto_pad = SAME -> pads.

The only pass that changes the model's own nodes: what they compute stays the same. OpenCV 5 puts the larger half of
SAME_UPPER in front, as SAME_LOWER does, and returns wrong numbers without an error.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..geometry.windows import kernel_of, spatial, windows_of
from ..graph.operator import Operator
from ..graph.passes import Step, Work, fired, graph_pass, left

_WINDOWED = ("AveragePool", "Conv", "LpPool", "MaxPool")


@graph_pass(needs="windows as the model has them", ensures="windows of known extents have their pads as numbers")
def stated_pads(work: Work) -> Iterator[Step]:
    """State, in place, the pads of every such node of the main graph, of the model's own ones too."""
    for node in work.emit.graph:
        automatic = node.attributes.get_string("auto_pad", "NOTSET").startswith("SAME")
        if node.op_type not in _WINDOWED or node.domain not in ("", "ai.onnx") or not automatic:
            continue
        operator = Operator(node, work.model.opset_imports, lambda value: False)
        x, weight = operator.input(0), operator.inputs[1] if node.op_type == "Conv" else None
        kernel = kernel_of(operator, weight)
        if max(operator.attribute("strides", [1])) > 1 and spatial(x) is None:
            yield left(node, "its extents are known to the run alone")
            continue
        if max(operator.attribute("dilations", [1])) > 1:
            yield left(node, "runtimes pad dilated windows differently")
            continue
        windows = windows_of(work.emit, operator, kernel)
        assert isinstance(windows.head, tuple) and isinstance(windows.tail, tuple)
        yield fired(node)
        del node.attributes["auto_pad"]
        node.attributes["pads"] = ir.AttrInt64s("pads", [*windows.head, *windows.tail])
