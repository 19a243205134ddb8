"""Elementwise nodes that hand values to each other: one Chain, in one pass over memory.

A group grows from the node whose value others need towards what that is made of. It takes in a node that only the group
uses, and also one that others use where that costs no more reads: its value is then made again, out of what it was made
of. Where all that a group reads stands in blocks, it runs in blocks, and the reorders around it go away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import onnx

from .chain_program import ELEMENTWISE, REDUCTIONS, Program, columns_of
from .editing import BLOCKED, Graph, Shape, attributes
from .library import DOMAIN
from .report import Note, fused, left

#: Rows that are added up are at most so long: they have to stay in the cache.
_LONGEST_ROW = 8192
#: A program has at most so many steps.
_MOST_STEPS = 48
#: What is made again rather than read.
_CHEAP = frozenset({"Add", "Sub", "Mul", "Div", "Abs", "Neg", "HardSigmoid", "Expand"})


@dataclass
class _Group:
    """``frame``: the shape of what the root works on; None is that of all values in blocks that it reads.

    Values are known by the name under which they are read: in blocks by that behind the ReorderOutput.
    """

    root: onnx.NodeProto
    frame: Shape | None
    blocked: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    full: set[str] = field(default_factory=set)
    small: dict[str, Shape] = field(default_factory=dict)
    crossed: bool = False
    axis: int = 0


def chains(graph: Graph, lanes: int) -> Iterator[Note]:
    """Put a Chain, or a ChainSum for a sum over all columns, in place of each group of elementwise nodes.

    Sums and products are those of the nodes, in their order. Sums over rows or columns are added up in float64, and
    exp is within two units in the last place.
    """
    for root in reversed(list(graph.nodes(*ELEMENTWISE, "ReduceSum"))):
        if graph.maker(root.output[0]) is not root or not _takes(graph, root):
            continue
        group, reason = _found(graph, root, lanes)
        if len(group.nodes) < 2 and not group.crossed:
            continue  # nothing would be gained
        if reason is not None:
            yield left("Chain", root, reason)
        else:
            yield fused(_put(graph, group, lanes), root)


def _takes(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a chain can do what a node does."""
    if node.domain not in ("", DOMAIN) or not all(graph.is_float(name) for name in node.output[:1]):
        return False
    return node.op_type not in REDUCTIONS or columns_of(graph, node) is not None


def _found(graph: Graph, root: onnx.NodeProto, lanes: int) -> tuple[_Group, str | None]:
    """Return the group of a root, in blocks if that can be, and why it cannot become a chain."""
    name = root.input[0] if root.op_type in REDUCTIONS else root.output[0]
    frame, native = graph.shape(name), graph.blocked(root.output[0])
    if lanes > 1 and (native or _has_blocks(frame, lanes)):
        group = _Group(root, frame, True)
        reason = _grow(graph, group, lanes)
        if native or reason is None:
            return group, reason
    group = _Group(root, frame, False)
    return group, _grow(graph, group, lanes) if frame is not None else "its shape is not known"


def _has_blocks(frame: Shape | None, lanes: int) -> bool:
    return frame is not None and len(frame) == 4 and isinstance(frame[1], int) and frame[1] % lanes == 0


def _grow(graph: Graph, group: _Group, lanes: int) -> str | None:
    """Take in all nodes that can be, until none is left; return why the group cannot be, or None."""
    members = [group.root]
    while True:
        added = next(_absorbable(graph, group, members, lanes), None)
        if added is None or len(members) >= _MOST_STEPS:
            break
        members.append(added)
    group.nodes = _ordered(graph, group, members, lanes)
    made = {node.output[0] for node in group.nodes}
    for node in group.nodes:
        for name in _operands(node):
            read = _read(graph, group, name, lanes)
            if read in made:
                group.crossed |= read != name
                continue
            reason = _input(graph, group, name, read)
            if reason is not None:
                return reason
    if not group.full:
        return "no input has its shape"
    return _split(graph, group)


def _absorbable(graph: Graph, group: _Group, members: list[onnx.NodeProto], lanes: int) -> Iterator[onnx.NodeProto]:
    for node in members:
        for name in _operands(node):
            made = graph.maker(_read(graph, group, name, lanes))
            if made is None or any(made is one for one in members):
                continue
            if made.op_type not in (*ELEMENTWISE, *REDUCTIONS) or not _takes(graph, made):
                continue
            if not _fits(graph, group, made, name):
                continue
            value, reads = made.output[0], _uses(graph, group, made.output[0], lanes)
            inside = reads is not None and all(any(user is one for one in members) for user in reads)
            if inside or len(_leaves(graph, group, value, lanes)) <= 1:
                yield made


def _fits(graph: Graph, group: _Group, node: onnx.NodeProto, name: str) -> bool:
    """Return whether a node makes a value of the group's shape, or adds up rows of it."""
    if node.op_type in REDUCTIONS:
        return (
            not group.blocked
            and group.root.op_type not in REDUCTIONS
            and graph.shape(node.input[0]) == group.frame
            and prod(e for e in (columns_of(graph, node) or [_LONGEST_ROW + 1])) <= _LONGEST_ROW
        )
    if graph.blocked(node.output[0]) and not group.blocked:
        return False
    if group.frame is None:
        return graph.blocked(name)
    return graph.shape(name) == group.frame or (group.blocked and graph.blocked(name))


def _read(graph: Graph, group: _Group, name: str, lanes: int) -> str:
    """Return under which name a group reads a value: in blocks, where they stand behind a ReorderOutput."""
    behind = graph.maker(name, "ReorderOutput") if group.blocked else None
    if behind is None or attributes(behind).get("channels_last", 0) or attributes(behind)["channels"] % lanes:
        return name
    inner: str = behind.input[0]
    return inner


def _uses(graph: Graph, group: _Group, value: str, lanes: int) -> list[onnx.NodeProto] | None:
    """Return the nodes that use a value, directly or behind a ReorderOutput; None if the model returns it."""
    if graph.returned(value):
        return None
    found: list[onnx.NodeProto] = []
    for user in graph.users(value):
        if user.op_type == "ReorderOutput" and _read(graph, group, user.output[0], lanes) == value:
            if graph.returned(user.output[0]):
                return None
            found += graph.users(user.output[0])
        else:
            found.append(user)
    return found


def _leaves(graph: Graph, group: _Group, name: str, lanes: int, depth: int = 6) -> set[str]:
    """Return the values of the group's shape out of which cheap steps make a value again; or itself and ""."""
    made = graph.maker(name)
    if depth == 0 or made is None or made.op_type not in _CHEAP or not _takes(graph, made):
        return {name, ""}
    leaves: set[str] = set()
    for operand in _operands(made):
        read = _read(graph, group, operand, lanes)
        if _is_small(graph, group, operand):
            continue
        inner = _leaves(graph, group, read, lanes, depth - 1) if _can_be_remade(graph, group, operand, read) else {read}
        leaves |= {read} if len(inner) > 1 else inner
    return leaves


def _can_be_remade(graph: Graph, group: _Group, name: str, read: str) -> bool:
    made = graph.maker(read)
    return made is not None and made.op_type in _CHEAP and _takes(graph, made) and _fits(graph, group, made, name)


def _is_small(graph: Graph, group: _Group, name: str) -> bool:
    shape = graph.shape(name)
    if shape is None:
        return False
    return not _has_many(shape) or (group.frame is not None and shape != group.frame)


def _operands(node: onnx.NodeProto) -> list[str]:
    """Return the values that a node computes with, without axes and shapes."""
    return [*node.input[:1]] if node.op_type in (*REDUCTIONS, "Expand") else [*node.input]


def _ordered(graph: Graph, group: _Group, members: list[onnx.NodeProto], lanes: int) -> list[onnx.NodeProto]:
    """Return the nodes in an order in which every value is made before it is used."""
    order: list[onnx.NodeProto] = []

    def visit(node: onnx.NodeProto) -> None:
        for name in _operands(node):
            made = graph.maker(_read(graph, group, name, lanes))
            if made is not None and any(made is one for one in members) and not any(made is one for one in order):
                visit(made)
        order.append(node)

    visit(group.root)
    return order


def _input(graph: Graph, group: _Group, name: str, read: str) -> str | None:
    """Enter a value that the group reads; return why it cannot."""
    if not graph.is_float(read):
        return "it is not known to be float32"
    shape = graph.shape(name)
    blocked = graph.blocked(read)
    if blocked and not group.blocked:
        return "its inputs are in both layouts"
    if blocked and (shape is None or shape == group.frame or read == name):
        group.full.add(read)
        group.crossed |= read != name
        return None
    if shape is None:
        return "its shapes are not known"
    if shape == group.frame:
        if group.blocked:
            return "its inputs are in both layouts"
        group.full.add(read)
        return None
    group.small[read] = shape
    return None


def _split(graph: Graph, group: _Group) -> str | None:
    """Choose the axis at which columns begin, so that every input fits; return why there is none."""
    sums = [node for node in group.nodes if node.op_type in REDUCTIONS]
    frame, smalls = group.frame, [shape for shape in group.small.values() if _has_many(shape)]
    if group.blocked:
        group.axis = 2
        if frame is None and (smalls or sums):
            return "its shape is not known"
        if any(len(shape) < 3 or shape[-3] == 1 or shape[-2:] != [1, 1] for shape in smalls):
            return "an input repeats along other axes than height and width"
        axes = [2] if not sums or len(columns_of(graph, sums[0]) or []) == 2 else []
    else:
        assert frame is not None
        axes = list(range(len(frame) + 1))
        if sums:
            axes = [len(frame) - len(columns_of(graph, node) or []) for node in sums]
            axes = axes[:1] if len(set(axes)) == 1 else []
    for axis in axes:
        if frame is None or all(_lies_in(shape, frame, axis) for shape in smalls):
            group.axis = axis
            return None
    return "its inputs repeat along different axes"


def _has_many(shape: Shape) -> bool:
    """Return whether a value has, or may have, more than one element."""
    return any(extent != 1 for extent in shape)


def _lies_in(shape: Shape, frame: Shape, axis: int) -> bool:
    """Return whether a value has ones in place of leading rows, of all columns, or of both."""
    if len(shape) > len(frame):
        return False
    dims = [*[1] * (len(frame) - len(shape)), *shape]
    rows, columns = dims[:axis], dims[axis:]
    while rows and rows[0] == 1:
        rows = rows[1:]
    same = rows == frame[axis - len(rows) : axis]
    return same and (columns == frame[axis:] or not any(extent != 1 for extent in columns))


def _put(graph: Graph, group: _Group, lanes: int) -> str:
    """Put the operator in place of the root, behind it a ReorderOutput where plain layout is needed."""
    program, reduced = Program(graph, [*sorted(group.full), *group.small]), group.root.op_type in REDUCTIONS
    for node in group.nodes[:-1] if reduced else group.nodes:
        program.add(node, [_read(graph, group, name, lanes) for name in _operands(node)])
    program.end(_read(graph, group, group.root.input[0], lanes) if reduced else group.root.output[0])
    kind, inputs, result = "ChainSum" if reduced else "Chain", program.inputs, group.root.output[0]
    settings: dict[str, Any] = {
        **program.settings(), "axis": [group.axis], "lanes": [lanes if group.blocked else 1]
    }  # fmt: skip
    if group.nodes == [group.root] and group.root.op_type == "Gate":  # it stays one, in blocks
        kind, settings = "Gate", attributes(group.root)
        inputs = [_read(graph, group, name, lanes) for name in group.root.input]
    if not group.blocked or reduced or graph.blocked(result):
        graph.replace(group.root, graph.make(kind, inputs, result, **settings))
        return kind
    assert group.frame is not None
    node = graph.make(kind, inputs, **settings)
    back = graph.make("ReorderOutput", [node.output[0]], result, BLOCKED, channels=group.frame[1])
    graph.replace(group.root, node, back)
    graph.state_shape(node.output[0], group.frame)
    return kind
