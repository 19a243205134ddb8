"""ZipMap at the end of a graph, which makes one dictionary per sample of a tensor of probabilities.

The graph representation has no type for dictionaries. While the model is worked on, the tensor stands in
for the output that the ZipMap makes of it; afterwards the node and its output are put back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import onnx

ML = "ai.onnx.ml"
T = TypeVar("T", onnx.NodeProto, onnx.ValueInfoProto, onnx.OperatorSetIdProto)


@dataclass(frozen=True)
class ZipMap:
    """A node that was taken off, its output, the position of that, and the import of its domain.

    ``stands_in`` says whether the tensor took the output's place; one that is an output itself does not.
    """

    node: onnx.NodeProto
    output: onnx.ValueInfoProto
    index: int
    stands_in: bool
    domain: onnx.OperatorSetIdProto


def take_off(proto: onnx.ModelProto) -> list[ZipMap]:
    """Remove every ZipMap that makes an output of ``proto`` from it, in place; returns them in order."""
    graph, found = proto.graph, []
    makers = {n.output[0]: n for n in graph.node if n.op_type == "ZipMap" and n.domain == ML}
    domain = next((o for o in proto.opset_import if o.domain == ML), None)
    outputs = list(graph.output)
    names = {value.name for value in outputs}
    kept = []
    for index, value in enumerate(outputs):
        node = makers.get(value.name)
        if node is None or domain is None:
            kept.append(value)
            continue
        tensor = onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None)
        stands_in = tensor.name not in names
        found.append(ZipMap(_copy(node), _copy(value), index, stands_in, _copy(domain)))
        if stands_in:
            names.add(tensor.name)
            kept.append(tensor)
        graph.node.remove(node)
    if found:
        kept = [_copy(value) for value in kept]
        del graph.output[:]
        graph.output.extend(kept)
    return found


def put_back(proto: onnx.ModelProto, taken: list[ZipMap]) -> None:
    """Undo :func:`take_off` on a model that was made of the same one by adding to its end, in place."""
    graph = proto.graph
    for zip_map in taken:
        if zip_map.stands_in:
            del graph.output[zip_map.index]
        graph.output.insert(zip_map.index, zip_map.output)
        graph.node.append(zip_map.node)
    if taken and all(o.domain != ML for o in proto.opset_import):
        proto.opset_import.append(taken[0].domain)


def _copy(message: T) -> T:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
