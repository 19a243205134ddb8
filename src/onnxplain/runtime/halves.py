"""A differentiated model cut in two, so that the questions about a sample share one pass forwards.

What does not depend on the inputs of the question (the class, the region of the output ...) is the forward half, the
rest the backward half. The forward half runs once for a sample; the values that cross the cut stay where ONNX Runtime
put them, and the backward half reads them once for every question. The cut goes through the graph as ONNX Runtime
optimised it, so that both halves have the nodes of the whole model, and its numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .session import Array, Session, Value

if TYPE_CHECKING:
    import onnx

#: What the forward half left of some samples, by name; empty before it ran.
Kept = dict[str, Value]


class Halves:
    """Both halves of a model in sessions; safe to run from several threads."""

    def __init__(self, forward: Session, backward: Session) -> None:
        """Take the halves that :func:`cut` makes."""
        self._forward, self._backward = forward, backward

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str], kept: Kept) -> list[Array]:
        """Return the named outputs, in order, as the whole model does.

        Args:
            feeds: the inputs of the whole model.
            outputs: names of its outputs.
            kept: an empty dict, or what it became in a run with the same inputs but for those of the question.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        if not kept:
            kept.update(self._forward.run_values(feeds, list(self._forward.output_types)))
        asked = [name for name in outputs if name not in kept]
        found = self._backward.run_values({**feeds, **kept}, asked) if asked else {}
        return [(kept if name in kept else found)[name].numpy() for name in outputs]


def cut(model: onnx.ModelProto, asked: Collection[str]) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the half of ``model`` that does not depend on the inputs ``asked``, and the one that does.

    Every value that crosses the cut is an output of the first and an input of the second. The second lacks the types of
    those that the model does not state; :func:`state_types` adds them.

    Raises:
        ValueError: nothing crosses the cut.
    """
    import onnx

    graph = model.graph
    reached = set(asked)
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []
    for node in graph.node:
        if reached.isdisjoint(_reads(node)):
            before.append(node)
        else:
            after.append(node)
            reached.update(node.output)
    made = {name for node in before for name in node.output if name}
    stated = {value.name: value for value in graph.output}
    crossing = dict.fromkeys(name for node in after for name in _reads(node) if name in made)
    crossing |= dict.fromkeys(name for name in stated if name in made)
    if not crossing:
        raise ValueError("no value is needed by both halves.")
    kept = [stated.get(name) or onnx.ValueInfoProto(name=name) for name in crossing]
    return _half(model, before, [], kept), _half(model, after, kept, [v for v in graph.output if v.name not in made])


def state_types(model: onnx.ModelProto, types: Mapping[str, str]) -> None:
    """State the types of inputs, given as ONNX Runtime writes them: "tensor(float)".

    Raises:
        ValueError: a value is no tensor.
    """
    import onnx

    for value in model.graph.input:
        if not value.HasField("type"):
            kind, _, element = types[value.name].rstrip(")").partition("tensor(")
            if kind or not element:
                raise ValueError(f"{value.name!r} is a {types[value.name]}.")
            name = {"float": "FLOAT", "double": "DOUBLE"}.get(element, element.upper())
            value.type.tensor_type.elem_type = onnx.TensorProto.DataType.Value(name)


def _half(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """The model of these nodes, with what they read of its inputs, its weights, and further ``inputs``."""
    import onnx

    used = {name for node in nodes for name in _reads(node)} | {value.name for value in outputs}
    graph = onnx.GraphProto(name=model.graph.name, node=nodes, output=outputs)
    graph.initializer.extend(t for t in model.graph.initializer if t.name in used)
    graph.sparse_initializer.extend(t for t in model.graph.sparse_initializer if t.values.name in used)
    graph.input.extend(v for v in (*model.graph.input, *inputs) if v.name in used)
    return onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions, graph=graph
    )


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node reads, those of its inner graphs included, whether they are made inside or outside."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)
            yield from (value.name for value in graph.output)
