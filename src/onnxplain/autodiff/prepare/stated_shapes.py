"""Set aside what a file states about the shapes of what it computes, so that inference starts from the inputs alone.

A model that was made dynamic often keeps shapes of an old batch, or of an old height and width. Inference takes back
what was stated only where nothing follows from the inputs: the rank and extents of an operator that it does not know.
Single extents that it leaves open are taken back where the file must know them: of outputs, which are the model's
contract, and of models whose inputs are all static, where there is no old size to speak of.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.bodies import bodies
from ..graph.emitter import static_shape
from ..graph.inference import EXTENTS_COUNT, STATED
from ..graph.passes import Step, fired, graph_pass


@graph_pass(needs="nothing", ensures="of what is computed only the ranks of outputs are known")
def set_aside_stated_shapes(model: ir.Model) -> Iterator[Step]:
    """Forget in place what is stated of every value that the model computes, in subgraphs too."""
    graph = model.graph
    static = all(static_shape(value) is not None for value in graph.inputs)
    for node in graph:
        stated = [value for value in node.outputs if value.shape is not None]
        for value in stated:
            assert value.shape is not None
            value.meta[STATED] = value.shape
            value.meta[EXTENTS_COUNT] = static or value.is_graph_output()
            # The checker asks for a rank of outputs; inference puts another in its place.
            value.shape = ir.Shape([None] * len(value.shape)) if value.is_graph_output() else None
        if stated:
            yield fired(node)
    for node in graph.all_nodes():
        for body in bodies(node):
            counters = 2 if node.op_type == "Loop" else 0  # ONNX Runtime wants to know that they are scalars
            for value in [*body.inputs[counters:], *(value for inner in body for value in inner.outputs)]:
                if value.shape is not None:
                    value.meta[STATED] = value.shape
                    # ONNX's inference of a Scan needs the ranks of what its body returns.
                    value.shape = ir.Shape([None] * len(value.shape)) if value in body.outputs else None
                    yield fired(value.name or "")
