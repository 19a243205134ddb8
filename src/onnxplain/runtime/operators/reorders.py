"""Reorders between layouts that cancel out once operators of ours take values as they stand."""

from __future__ import annotations

import onnx

from .editing import Graph, attributes


def reorders(graph: Graph, lanes: int) -> None:
    """ReorderInput(ReorderOutput(v)) is v; with a Split of whole blocks between them, it is a Split of v."""
    for node in graph.nodes("ReorderInput"):
        behind = graph.maker(node.input[0], "ReorderOutput")
        if behind is not None and _whole_blocks(behind, lanes) and not attributes(node).get("channels_last", 0):
            graph.rename(node.output[0], behind.input[0])
    for node in graph.nodes("Split"):
        behind = graph.alone(node.input[0], "ReorderOutput")
        if behind is not None and _whole_blocks(behind, lanes) and _splits_blocks(graph, node, lanes):
            inner = [f"{name}/blocked" for name in node.output]
            for name, blocked in zip(list(node.output), inner):
                for user in graph.users(name):
                    graph.rename(user.output[0], blocked)
            new = graph.make("Split", [behind.input[0], *node.input[1:]], inner[0], "", **attributes(node))
            new.output.extend(inner[1:])
            graph.replace(node, new)


def _whole_blocks(reorder: onnx.NodeProto, lanes: int) -> bool:
    """Return whether a ReorderOutput's channels fill all blocks of its input, so that none are dropped."""
    given = attributes(reorder)
    return lanes > 1 and given.get("channels_last", 0) == 0 and given["channels"] % lanes == 0


def _splits_blocks(graph: Graph, node: onnx.NodeProto, lanes: int) -> bool:
    """Return whether every part of a Split is whole blocks of channels, which only ReorderInputs read."""
    if attributes(node).get("axis", 0) != 1:
        return False
    for name in node.output:
        shape = graph.shape(name)
        if shape is None or len(shape) != 4 or not isinstance(shape[1], int) or shape[1] % lanes:
            return False
        users = graph.users(name)
        if graph.returned(name) or not users or any(_kept(user) for user in users):
            return False
    return True


def _kept(user: onnx.NodeProto) -> bool:
    """Return whether a node needs its input in plain layout."""
    return user.op_type != "ReorderInput" or bool(attributes(user).get("channels_last", 0))
