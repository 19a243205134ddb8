"""How much memory a run needs, from the shapes of the graph's values, and how much there is."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import onnx

#: Used where the operating system does not tell.
_ASSUMED = 4 << 30


def available_memory() -> int:
    """Bytes that can be used now: free memory and caches, within the limit of a container."""
    free = _assumed()
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit() and used[0].isdigit():
        free = min(free, max(int(limit[0]) - int(used[0]), 0))
    return free


def _assumed() -> int:
    """Half of the machine's memory, where the number of pages is known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _ASSUMED


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []


def bytes_per_sample(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Peak bytes of the values of one sample: an estimate for a run that frees each value after its last use.

    ``shapes`` are those of the inputs to be fed, with any batch. The first axis of every value counts as
    the batch where it is named like an input's; extents that follow from no input are taken to be as large as
    the largest that is known.
    """
    graph = model.graph
    extents: dict[str, int] = {}
    for value in graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param and axis < len(shapes.get(value.name, ())):
                extents.setdefault(dim.dim_param, 1 if axis == 0 else shapes[value.name][axis])
    largest = max(extents.values(), default=1)
    made = {name for node in graph.node for name in node.output}
    sizes = {v.name: _size(v, extents, largest) for v in [*graph.value_info, *graph.output] if v.name in made}
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input}
    last_use |= {v.name: len(graph.node) for v in graph.output}
    live = peak = sum(_size(v, extents, largest) for v in graph.input if v.name in shapes)
    for index, node in enumerate(graph.node):
        live += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, live)
        done = {name for name in [*node.input, *node.output] if last_use.get(name, index) == index}
        live -= sum(sizes.get(name, 0) for name in done)
    return peak


def _size(value: onnx.ValueInfoProto, extents: Mapping[str, int], largest: int) -> int:
    tensor = value.type.tensor_type
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    except (KeyError, TypeError):
        return 0
    return width * prod(
        _extent(dim.dim_param, extents, largest) if dim.dim_param else max(dim.dim_value, 1) for dim in tensor.shape.dim
    )


def _extent(name: str, extents: Mapping[str, int], largest: int) -> int:
    """A dimension's value: of an input's name, or of whole-number arithmetic on such, as in ``(h-1)//2+1``."""
    if name in extents:
        return extents[name]
    try:
        return max(_evaluate(ast.parse(name, mode="eval").body, extents), 1)
    except (KeyError, SyntaxError, ValueError, ZeroDivisionError):
        return largest


def _evaluate(node: ast.expr, extents: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, extents), _evaluate(node.right, extents)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.FloorDiv):
            return left // right
        raise ValueError(f"no such arithmetic in a dimension's name: {ast.unparse(node)}")
    return extents[ast.unparse(node)]
