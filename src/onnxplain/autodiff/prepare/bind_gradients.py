"""Let the operator Gradient read what it differentiates, and not only name it.

Its attributes are names: ``y`` of the tensor that is differentiated, ``xs`` and ``zs`` of what that is computed from.
Preparations rename and replace values; edges of the graph follow them. So the inputs of a Gradient become those that it
has, the values that ``xs`` and ``zs`` name, and ``y``. :mod:`.lower_gradients` writes it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from ...errors import ModelError
from ..graph.editing import set_input
from ..graph.passes import Step, fired, graph_pass

DOMAIN = "ai.onnx.preview.training"


def is_gradient(node: ir.Node) -> bool:
    """Return whether a node is the standard's operator Gradient."""
    return node.op_type == "Gradient" and node.domain == DOMAIN


@graph_pass(needs="names of values as the file has them", ensures="every Gradient reads what its attributes name")
def bind_gradients(model: ir.Model) -> Iterator[Step]:
    """Append the values that are named to the inputs, in place, also in functions."""
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        found = [node for node in graph if is_gradient(node)]
        if found:
            values = {v.name: v for v in [*graph.inputs, *(v for node in graph for v in node.outputs)]}
            values |= {v.name: v for v in getattr(graph, "initializers", {}).values()}
            for node in found:
                _bind(node, values)
                yield fired(node)
            try:
                graph.sort()
            except ValueError:
                raise ModelError("a Gradient differentiates what is computed from its own result.") from None


def _bind(node: ir.Node, values: Mapping[str | None, ir.Value]) -> None:
    """Append to a node's inputs what its attributes name.

    Raises:
        ModelError: a name means nothing, or there are more names, or fewer, than inputs.
    """
    bound = [*node.attributes.get_strings("xs", []), *node.attributes.get_strings("zs", [])]
    names = [*bound, node.attributes.get_string("y", "")]
    for name in names:
        if name not in values:
            raise ModelError(
                f"the Gradient node {node.name!r} names {name!r}, which its graph lacks. Export the model again."
            )
    if len(bound) != len(node.inputs) or None in node.inputs:
        raise ModelError(
            f"the Gradient node {node.name!r} has {len(node.inputs)} inputs for the {len(bound)} names in xs and zs. "
            "Export the model again."
        )
    for name in names:
        set_input(node, len(node.inputs), values[name])
