"""The graph of an optimised model while it is rewritten: who makes a value, who uses it, what is known of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from .library import DOMAIN

#: ONNX Runtime's blocked layout: its operators take float32 alone.
BLOCKED = "com.microsoft.nchwc"
#: Operators of one shape and type, wherever they stand.
_ELEMENTWISE = frozenset(
    {"Mul", "Add", "Sum", "Sub", "Div", "Neg", "Abs", "Exp", "Erf", "Sigmoid", "HardSigmoid", "Gate", "Expand"}
)

Shape = list[int | str]


_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


class Graph:
    """Nodes in the order in which they run, found by the values that they make and use.

    A node is replaced at the place of the last one that it stands for, so the order stays one in which every value is
    made before it is used.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        graph = model.graph
        self._places = [[node] for node in graph.node]
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._infos = {v.name: v.type.tensor_type for v in [*graph.input, *graph.output, *graph.value_info]}
        self._outputs = {v.name for v in graph.output}
        self._shapes: dict[str, Shape | None] = {}
        self._maker: dict[str, tuple[onnx.NodeProto, int]] = {}
        self._uses: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for place, (node,) in enumerate(self._places):
            self._enter(node, place)
        self._count = 0

    def nodes(self, *kinds: str) -> Iterator[onnx.NodeProto]:
        """Yield the nodes of these kinds, in order, as far as they are there when it is their turn."""
        for place in self._places:
            for node in list(place):
                if node.op_type in kinds and any(node is one for one in place):
                    yield node

    def maker(self, name: str, *kinds: str) -> onnx.NodeProto | None:
        """Return the node that makes a value, if it is of one of these kinds (or none is given)."""
        node = self._maker[name][0] if name in self._maker else None
        return node if node is not None and (not kinds or node.op_type in kinds) else None

    def alone(self, name: str, *kinds: str) -> onnx.NodeProto | None:
        """Return :meth:`maker` if the value is used once, and is no output of the model."""
        return self.maker(name, *kinds) if self.used_once(name) else None

    def used_once(self, name: str) -> bool:
        """Return whether one node uses the value, once, and the model does not return it."""
        return len(self._uses[name]) == 1 and name not in self._outputs

    def users(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that use a value, one as often as it does."""
        return list(self._uses[name])

    def returned(self, name: str) -> bool:
        """Return whether the model returns the value."""
        return name in self._outputs

    def constant(self, name: str) -> np.ndarray[Any, Any] | None:
        """Return the value of a constant; None also where its numbers are not in the model."""
        tensor = self._constants.get(name)
        return None if tensor is None or uses_external_data(tensor) else numpy_helper.to_array(tensor)

    def shape(self, name: str) -> Shape | None:
        """Return what the file states of a value's shape: an extent, or the name of one; None where one has neither."""
        if name not in self._shapes:
            self._shapes[name] = self._stated(name)
        return self._shapes[name]

    def blocked(self, name: str) -> bool:
        """Return whether a value is in the blocked layout."""
        node = self.maker(name)
        if node is None:
            return False
        if node.domain == BLOCKED:
            return node.op_type != "ReorderOutput"
        if node.domain == DOMAIN:
            lanes = attributes(node).get("lanes")
            return self.blocked(node.input[0]) if lanes is None else bool(lanes[0] > 1)
        return name not in self._infos and bool(node.input) and self.blocked(node.input[0])

    def is_float(self, name: str) -> bool:
        """Return whether a value is known to be float32."""
        if name in self._infos:
            return bool(self._infos[name].elem_type == TensorProto.FLOAT)
        node = self.maker(name)
        if node is None:
            return name in self._constants and self._constants[name].data_type == TensorProto.FLOAT
        if node.domain in (BLOCKED, DOMAIN):
            return True
        return node.op_type in _ELEMENTWISE and self.is_float(node.input[0])

    def alike(self, first: str, second: str) -> bool:
        """Return whether two values are known to have one shape. Elementwise nodes on blocked values prove it."""
        shapes = self.shape(first), self.shape(second)
        return (shapes[0] is not None and shapes[0] == shapes[1]) or (self.blocked(first) and self.blocked(second))

    def make(
        self, kind: str, inputs: Sequence[str], output: str | None = None, domain: str = DOMAIN, **attributes: Any
    ) -> onnx.NodeProto:
        """Return a new node that is not in the graph yet; without ``output`` its value gets a name of its own."""
        self._count += 1
        output = output or f"{DOMAIN}/{kind}/{self._count}"
        node = helper.make_node(kind, inputs, [output], name=f"{DOMAIN}/{kind}/{self._count}", domain=domain)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        return node

    def replace(self, last: onnx.NodeProto, *new: onnx.NodeProto) -> None:
        """Put new nodes at the place of ``last``; what only led there goes away."""
        place = self._place(last)
        at = next(index for index, one in enumerate(self._places[place]) if one is last)
        self._leave(last)
        for node in new:
            self._enter(node, place)
        self._places[place][at:at] = new
        self._sweep(_reads(last))

    def rename(self, old: str, new: str) -> None:
        """Let everything that uses one value use another, which is made before it."""
        for node in self._uses.pop(old, []):
            node.input[:] = [new if name == old else name for name in node.input]
            self._uses[new].append(node)

    def state_shape(self, name: str, shape: Shape) -> None:
        """State the shape of a new float32 value."""
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        self._model.graph.value_info.append(info)
        self._infos[name] = info.type.tensor_type
        self._shapes.pop(name, None)

    def write(self) -> dict[str, int]:
        """Write the nodes that are needed back into the model; return how many of our operators there are, by name."""
        for place in reversed(self._places):
            for node in reversed(list(place)):
                if not any(self._uses[name] or name in self._outputs for name in node.output):
                    self._leave(node)
        graph = self._model.graph
        kept = [node for place in self._places for node in place]
        del graph.node[:]
        graph.node.extend(kept)
        used = {name for node in kept for name in [*_reads(node), *node.output]} | self._outputs
        for values in (graph.initializer, graph.value_info):
            for index in reversed(range(len(values))):
                if values[index].name not in used:
                    del values[index]
        ours = Counter(node.op_type for node in kept if node.domain == DOMAIN)
        if ours:
            self._model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        return dict(ours)

    def _stated(self, name: str) -> Shape | None:
        if name in self._constants:
            return [*self._constants[name].dims]
        if name not in self._infos or not self._infos[name].HasField("shape"):
            return None
        extents = [dim.dim_param or dim.dim_value for dim in self._infos[name].shape.dim]
        return extents if all(extents) else None

    def _sweep(self, names: list[str]) -> None:
        """Take out the nodes of these values that nothing uses any more, and what only led there."""
        while names:
            node = self.maker(names.pop())
            if node is not None and not any(self._uses[name] or name in self._outputs for name in node.output):
                self._leave(node)
                names += _reads(node)

    def _place(self, node: onnx.NodeProto) -> int:
        return self._maker[next(name for name in node.output if name)][1]

    def _enter(self, node: onnx.NodeProto, place: int) -> None:
        for name in node.output:
            if name:
                self._maker[name] = node, place
        for name in _reads(node):
            self._uses[name].append(node)

    def _leave(self, node: onnx.NodeProto) -> None:
        place = self._place(node)
        for name in node.output:
            self._maker.pop(name, None)
        for name in _reads(node):
            self._uses[name] = _without(self._uses[name], node)
        self._places[place] = _without(self._places[place], node)


def _without(nodes: list[onnx.NodeProto], node: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [one for one in nodes if one is not node]


def _reads(node: onnx.NodeProto) -> list[str]:
    """Return the values that a node uses, those of the graphs inside it included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.type not in _GRAPHS:
            continue
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                names += _reads(inner)
            names += [value.name for value in graph.output]
    return names


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}
