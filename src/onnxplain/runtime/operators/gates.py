"""Masks of activations: a product with ramps becomes one Gate."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from .editing import Graph, attributes
from .report import Note, fused, left

#: What HardSigmoid's attributes are if a node does not state them.
_ALPHA, _BETA = 0.2, 0.5


def gates(graph: Graph) -> Iterator[Note]:
    """dy · HardSigmoid(y), and dy · (HardSigmoid(y) · HardSigmoid'(y)), are Gate(dy, y); of dy = a + b, Gate(a, b, y).

    Three passes over memory, or five, become one, and dy's memory may be the result's. The same sums and products are
    taken in the same order, so results stay bit for bit the same.
    """
    for node in graph.nodes("Mul"):
        if _ramps(graph, node.output[0]):
            continue  # a mask that is still to be multiplied
        found = next((pair for pair in ((0, 1), (1, 0)) if _ramps(graph, node.input[pair[1]])), None)
        if found is None:
            continue
        dy, (y, ramps) = node.input[found[0]], _ramps(graph, node.input[found[1]])[0]
        reason = _refused(graph, dy, y)
        if reason is not None:
            yield left("Gate", node, reason)
            continue
        alpha, beta = zip(*ramps)
        dys = _summands(graph, dy, y)
        graph.replace(node, graph.make("Gate", [*dys, y], node.output[0], alpha=[*alpha], beta=[*beta]))
        yield fused("Gate", node)


def _refused(graph: Graph, dy: str, y: str) -> str | None:
    if not (graph.is_float(dy) and graph.is_float(y)):
        return "it is not known to be float32"
    return None if graph.alike(dy, y) else "its inputs are not known to have one shape"


def _summands(graph: Graph, dy: str, y: str) -> list[str]:
    """Return the two values that make ``dy``, if it is used once and is the sum of two of its shape; else itself."""
    add = graph.alone(dy, "Add", "Sum")
    if add is None or len(add.input) != 2 or _refused(graph, add.input[0], y) or _refused(graph, add.input[1], y):
        return [dy]
    return [*add.input]


def _ramps(graph: Graph, name: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """Return the value of which ``name``, used once, is a ramp or a product of two, with the ramps; else nothing."""
    one = graph.alone(name, "HardSigmoid")
    if one is not None:
        return [(one.input[0], [_ramp(one)])]
    product = graph.alone(name, "Mul")
    if product is None:
        return []
    first, second = (graph.alone(value, "HardSigmoid") for value in product.input)
    if first is None or second is None or first.input[0] != second.input[0]:
        return []
    return [(first.input[0], [_ramp(first), _ramp(second)])]


def _ramp(node: onnx.NodeProto) -> tuple[float, float]:
    given = attributes(node)
    return given.get("alpha", _ALPHA), given.get("beta", _BETA)
