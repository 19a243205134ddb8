"""Gradients of max pooling: indices and scattered values become one PoolGradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from .editing import BLOCKED, Graph, attributes
from .report import Note, fused, left


@dataclass(frozen=True)
class _Pool:
    """``last`` makes the gradient of ``x`` from the gradient ``dy`` of MaxPool's output and its indices."""

    last: onnx.NodeProto
    pool: onnx.NodeProto
    x: str
    dy: str
    add: bool


def pools(graph: Graph, lanes: int) -> Iterator[Note]:
    """Scatter dy to the indices of a MaxPool of x: PoolGradient(x, dy).

    The first maximum of each window is found again, in the layout in which x stands, so MaxPool with indices, the
    zeros and ScatterElements or MaxUnpool go away, and most reorders with them. Windows are taken in the order of the
    output, in which ScatterElements adds, so results stay bit for bit the same.
    """
    for node in graph.nodes("Reshape", "MaxUnpool"):
        found = _scattered(graph, node) if node.op_type == "Reshape" else _unpooled(graph, node)
        if found is None:
            continue
        reason = _refused(graph, found)
        if reason is not None:
            yield left("PoolGradient", node, reason)
            continue
        _put(graph, found, lanes)
        yield fused("PoolGradient", node)


def _scattered(graph: Graph, last: onnx.NodeProto) -> _Pool | None:
    """Match Reshape(ScatterElements(zeros, Reshape(indices), Reshape(dy)))."""
    scatter = graph.alone(last.input[0], "ScatterElements")
    if scatter is None or attributes(scatter).get("axis", 0) != 0:
        return None
    reduction = attributes(scatter).get("reduction", b"none")
    zeros = graph.alone(scatter.input[0], "ConstantOfShape")
    indices, updates = (graph.alone(name, "Reshape") for name in scatter.input[1:3])
    if zeros is None or indices is None or updates is None or reduction not in (b"none", b"add"):
        return None
    pool = graph.alone(indices.input[0], "MaxPool")
    if pool is None or not _is_zero(zeros) or pool.output[1:2] != [indices.input[0]]:
        return None
    return _Pool(last, pool, pool.input[0], updates.input[0], reduction == b"add")


def _unpooled(graph: Graph, last: onnx.NodeProto) -> _Pool | None:
    """Match MaxUnpool(dy, indices)."""
    pool = graph.alone(last.input[1], "MaxPool")
    if pool is None or pool.output[1:2] != [last.input[1]]:
        return None
    return _Pool(last, pool, pool.input[0], last.input[0], False)


def _is_zero(node: onnx.NodeProto) -> bool:
    value = attributes(node).get("value")
    if value is None:
        return True
    array = onnx.numpy_helper.to_array(value)
    return bool(array.dtype == np.float32 and not array.any())


def _refused(graph: Graph, found: _Pool) -> str | None:
    given = attributes(found.pool)
    if found.pool.domain or len(given.get("kernel_shape", [])) != 2:
        return "its windows are not two-dimensional"
    if given.get("auto_pad", b"NOTSET") != b"NOTSET" or given.get("storage_order", 0):
        return "its padding or its indices are of another kind"
    if graph.users(found.pool.output[0]) or graph.returned(found.pool.output[0]):
        return "its MaxPool is used elsewhere"
    if not (graph.is_float(found.x) and graph.is_float(found.dy)):
        return "it is not known to be float32"
    if not (_same(graph, found.last.output[0], found.x) and _same(graph, found.dy, found.pool.output[1])):
        return "its shapes are not known"
    return None


def _same(graph: Graph, first: str, second: str) -> bool:
    shape = graph.shape(first)
    return shape is not None and len(shape) == 4 and shape == graph.shape(second)


def _put(graph: Graph, found: _Pool, lanes: int) -> None:
    shape = graph.shape(found.x)
    assert shape is not None
    given, pads = attributes(found.pool), attributes(found.pool).get("pads", [0, 0, 0, 0])
    settings: dict[str, Any] = {
        "kernel_shape": given["kernel_shape"],
        "strides": given.get("strides", [1, 1]),
        "dilations": given.get("dilations", [1, 1]),
        "top_left": pads[:2],
        "add": [int(found.add)],
    }
    result = found.last.output[0]
    behind = graph.maker(found.x, "ReorderOutput")
    if behind is None or lanes == 1 or not isinstance(shape[1], int) or shape[1] % lanes:
        node = graph.make("PoolGradient", [found.x, found.dy], result, lanes=[1], **settings)
        graph.replace(found.last, node)
        return
    reorder = graph.make("ReorderInput", [found.dy], domain=BLOCKED)
    node = graph.make("PoolGradient", [behind.input[0], reorder.output[0]], lanes=[lanes], **settings)
    back = graph.make("ReorderOutput", [node.output[0]], result, BLOCKED, channels=shape[1])
    graph.replace(found.last, reorder, node, back)
