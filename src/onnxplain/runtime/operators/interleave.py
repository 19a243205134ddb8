"""Gradients of strided convolutions: phases put together by Concat, or by a ConvTranspose of ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from .editing import BLOCKED, Graph, attributes
from .report import Note, fused, left

#: Axis of a Concat that interleaves rows or columns of [N,C,H,W], by the rank of what it concatenates.
_ROWS, _COLUMNS = 2, 3


@dataclass(frozen=True)
class _Grid:
    """``phases[r][c]`` holds the rows r and columns c of a value, counted modulo the strides; None is zeros."""

    phases: list[list[str | None]]

    def given(self) -> list[tuple[int, str]]:
        """Return the phases that are not zero, with their numbers."""
        columns = len(self.phases[0])
        return [
            (row * columns + column, phase)
            for row, line in enumerate(self.phases)
            for column, phase in enumerate(line)
            if phase is not None
        ]


def interleaved(graph: Graph, lanes: int) -> Iterator[Note]:
    """Concat and Reshape that interleave phases, with a Slice behind them or not, are Interleave(phases).

    Nothing is computed, so nothing changes but the layout: phases in blocks are put together in blocks.
    """
    for node in graph.nodes("Slice", "Reshape", "ConvTranspose"):
        grid = _grid(graph, node)
        if grid is None:
            continue
        reason = _refused(graph, node, grid)
        if reason is not None:
            yield left("Interleave", node, reason)
            continue
        _put(graph, node, grid, lanes)
        yield fused("Interleave", node)


def _grid(graph: Graph, last: onnx.NodeProto) -> _Grid | None:
    if last.op_type == "ConvTranspose":
        return _spread(graph, last)
    if last.op_type == "Slice":
        inner = graph.alone(last.input[0], "Reshape")
        return _assembled(graph, inner) if inner is not None and _crops(graph, last) else None
    users = _taking(graph, last.output[0])
    if len(users) == 1 and users[0].op_type == "Slice" and _crops(graph, users[0]):
        return None  # it is found from there
    if len(users) == 1 and users[0].op_type in ("Concat", "Unsqueeze"):
        return None  # it is a part of a larger grid
    return _assembled(graph, last)


def _assembled(graph: Graph, last: onnx.NodeProto) -> _Grid | None:
    """Match what :func:`_parts` does, once or along both axes."""
    outer = _parts(graph, last)
    if outer is None:
        return None
    axis, parts = outer
    inner_parts = [None if part is None else _inner(graph, part, axis) for part in parts]
    counts = {len(lines) for lines in inner_parts if lines is not None}
    if len(counts) != 1:
        return None
    zeros: list[str | None] = [None] * counts.pop()
    lines = [zeros if one is None else one for one in inner_parts]
    return _Grid(lines if axis == _ROWS else [list(line) for line in zip(*lines)])


def _inner(graph: Graph, part: str, outer: int) -> list[str | None]:
    """Return what a part of one axis is made of along the other axis; itself if it is of one piece."""
    alone = len(_taking(graph, part)) == 1 and not graph.returned(part)
    node = graph.maker(part, "Reshape") if alone else None
    found = None if node is None else _parts(graph, node)
    return [part] if found is None or found[0] == outer else found[1]


def _taking(graph: Graph, name: str) -> list[onnx.NodeProto]:
    """Return the nodes that use a value, without any Shape that only says how many zeros there are: it goes away."""
    users = graph.users(name)
    return [user for user in users if user.op_type != "Shape" or not _sizes_zeros(graph, user)]


def _sizes_zeros(graph: Graph, shape: onnx.NodeProto) -> bool:
    users = graph.users(shape.output[0])
    return bool(users) and all(user.op_type == "ConstantOfShape" for user in users)


def _parts(graph: Graph, last: onnx.NodeProto) -> tuple[int, list[str | None]] | None:
    """Match Reshape(Concat(parts)) that interleaves values [N,C,h,w]; the axis is that of [N,C,H,W]."""
    concat, whole = graph.alone(last.input[0], "Concat"), graph.shape(last.output[0])
    if concat is None or whole is None or len(whole) != 4 or not isinstance(whole[1], int):
        return None
    at = attributes(concat)["axis"]
    shapes = [graph.shape(name) for name in concat.input]
    if any(shape is None or shape != shapes[0] for shape in shapes) or shapes[0] is None:
        return None
    count, shape = len(shapes), shapes[0]
    if len(shape) == 4 and at == 3:
        axis, extents, parts = _ROWS, [*shape[:2], _times(count, shape[2]), shape[3]], [*concat.input]
    elif len(shape) == 5 and at in (3, 4) and shape[at] == 1:
        axis = _ROWS if at == 3 else _COLUMNS
        plain = [*shape[:at], *shape[at + 1 :]]
        extents = [*plain[:axis], _times(count, plain[axis]), *plain[axis + 1 :]]
        unwrapped = [_unwrapped(graph, name, at) for name in concat.input]
        if "" in unwrapped:
            return None
        return (axis, [name or None for name in unwrapped]) if extents == whole else None
    else:
        return None
    return (axis, [None if _is_zeros(graph, name) else name for name in parts]) if extents == whole else None


def _times(count: int, extent: int | str) -> int | str:
    return count * extent if isinstance(extent, int) else ""


def _unwrapped(graph: Graph, name: str, axis: int) -> str | None:
    """Return what Unsqueeze makes rank 5 of; None for zeros, and "" for anything else."""
    if _is_zeros(graph, name):
        return None
    node = graph.alone(name, "Unsqueeze")
    axes = None if node is None else graph.constant(node.input[1])
    if node is None or axes is None or axes.tolist() != [axis]:
        return ""
    return None if _is_zeros(graph, node.input[0]) else node.input[0]


def _is_zeros(graph: Graph, name: str) -> bool:
    node = graph.maker(name, "ConstantOfShape")
    if node is None:
        constant = graph.constant(name)
        return constant is not None and constant.dtype == np.float32 and not constant.any()
    value = attributes(node).get("value")
    return value is None or not onnx.numpy_helper.to_array(value).any()


def _crops(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a Slice only drops the last rows and columns of [N,C,H,W]."""
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    given = [graph.constant(name) if name else None for name in node.input[1:]]
    starts, axes = given[0], given[2] if len(given) > 2 else None
    steps = given[3] if len(given) > 3 else np.ones(1)
    if before is None or after is None or starts is None or axes is None or steps is None or len(after) != 4:
        return False
    return not starts.any() and bool((steps == 1).all()) and {*axes.tolist()} <= {2, 3, -1, -2}


def _spread(graph: Graph, node: onnx.NodeProto) -> _Grid | None:
    """Match a ConvTranspose of one channel to itself by the weight one, which puts zeros between the elements."""
    given, weight, shape = attributes(node), graph.constant(node.input[1]), graph.shape(node.output[0])
    if len(node.input) > 2 or weight is None or shape is None or weight.shape != (shape[1], 1, 1, 1):
        return None
    strides = given.get("strides", [1, 1])
    plain = not any(given.get("pads", [0])) and not any(given.get("output_padding", [0]))
    if given.get("group", 1) != shape[1] or not (weight == 1).all() or not plain or len(strides) != 2:
        return None
    if given.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in given or strides == [1, 1]:
        return None
    lines: list[list[str | None]] = [[None] * strides[1] for _ in range(strides[0])]
    lines[0][0] = node.input[0]
    return _Grid(lines)


def _refused(graph: Graph, last: onnx.NodeProto, grid: _Grid) -> str | None:
    phases = grid.given()
    if not phases:
        return "all its phases are zero"
    if not all(graph.is_float(name) for _, name in phases):
        return "it is not known to be float32"
    shape = graph.shape(last.output[0])
    if shape is None or not all(isinstance(extent, int) for extent in shape[1:]):
        return "its sizes are not known"
    first = graph.shape(phases[0][1])
    if first is None or any(graph.shape(name) != first for _, name in phases) or first[:2] != shape[:2]:
        return "its phases are not known to have one shape"
    return None


def _put(graph: Graph, last: onnx.NodeProto, grid: _Grid, lanes: int) -> None:
    shape = graph.shape(last.output[0])
    assert shape is not None and isinstance(shape[1], int)
    phases = grid.given()
    settings: dict[str, Any] = {
        "phases": [number for number, _ in phases],
        "stride": [len(grid.phases), len(grid.phases[0])],
        "size": shape[2:],
    }
    names, result = [name for _, name in phases], last.output[0]
    makers = [graph.maker(name, "ReorderOutput") for name in names]
    if lanes == 1 or shape[1] % lanes or any(maker is None for maker in makers):
        graph.replace(last, graph.make("Interleave", names, result, lanes=[1], **settings))
        return
    inputs = [maker.input[0] for maker in makers if maker is not None]
    node = graph.make("Interleave", inputs, lanes=[lanes], **settings)
    back = graph.make("ReorderOutput", [node.output[0]], result, BLOCKED, channels=shape[1])
    graph.replace(last, node, back)
    graph.state_shape(node.output[0], shape)
