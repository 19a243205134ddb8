"""How much memory a run needs, from the shapes of the graph's values, and how much there is."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path

import onnx

#: Used where the operating system does not tell.
_ASSUMED = 4 << 30
#: Constants up to this many bytes can be sizes and axes, which shape inference needs to know.
_SMALL = 1024


def available_memory() -> int:
    """Bytes that can be used now: free memory and caches, within the limit of a container."""
    free = _half_of_the_machine()
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit() and used[0].isdigit():
        free = min(free, max(int(limit[0]) - int(used[0]), 0))
    return free


def return_freed() -> None:
    """Return what was freed to the operating system, where the C library keeps it, as glibc does; takes 10 to 40 ms."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _half_of_the_machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _ASSUMED


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []


def without_weights(model: onnx.ModelProto) -> bytes:
    """Return the graph alone, serialised: large constants become inputs, so that their shapes stay known."""
    graph = onnx.GraphProto(name=model.graph.name)
    graph.node.extend(model.graph.node)
    for part in ("input", "output", "value_info"):
        getattr(graph, part).extend(getattr(model.graph, part))
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) <= _SMALL and prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    alone = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
    data: bytes = alone.SerializeToString()
    return data


def bytes_per_sample(graph_alone: bytes, shapes: Mapping[str, Sequence[int]], batched: frozenset[str]) -> int:
    """Peak bytes of the values of one sample: an estimate for a run that frees each value after its last use.

    ``graph_alone`` is what :func:`without_weights` returns. ``shapes`` are those of the inputs to be fed, with any
    batch on axis 0 of the ``batched`` ones. Extents that cannot be inferred from them count as the largest extent
    of the inputs.
    """
    model, sized = onnx.load_model_from_string(graph_alone), onnx.load_model_from_string(graph_alone)
    for value in sized.graph.input:
        shape = list(shapes.get(value.name, ()))
        if shape and value.name in batched:
            shape[0] = 1
        for dim, extent in zip(_dims(value), shape):
            dim.dim_value = extent
    with suppress(Exception):  # the C++ inference raises several types; the shapes that are known will do
        sized = onnx.shape_inference.infer_shapes(sized, data_prop=True)
    graph = sized.graph
    named = {v.name: v for v in [*model.graph.value_info, *model.graph.input]}
    extents = {
        old.dim_param: new.dim_value
        for value in [*graph.value_info, *graph.input]
        if value.name in named
        for old, new in zip(_dims(named[value.name]), _dims(value))
        if old.dim_param and new.HasField("dim_value")
    }
    largest = max((extent for shape in shapes.values() for extent in shape[1:]), default=1)
    made = {name for node in graph.node for name in node.output}
    sizes = {v.name: _size(v, extents, largest) for v in [*graph.value_info, *graph.output] if v.name in made}
    return _peak(graph, sizes, sum(_size(v, extents, largest) for v in graph.input if v.name in shapes))


def _peak(graph: onnx.GraphProto, sizes: Mapping[str, int], given: int) -> int:
    """Return the most bytes that live at once, of values of these ``sizes`` and the ``given`` inputs."""
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input}
    last_use |= {v.name: len(graph.node) for v in graph.output}
    live = peak = given
    for index, node in enumerate(graph.node):
        live += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, live)
        done = {name for name in [*node.input, *node.output] if last_use.get(name, index) == index}
        live -= sum(sizes.get(name, 0) for name in done)
    return peak


def _dims(value: onnx.ValueInfoProto) -> Sequence[onnx.TensorShapeProto.Dimension]:
    dims: Sequence[onnx.TensorShapeProto.Dimension] = value.type.tensor_type.shape.dim
    return dims


def _size(value: onnx.ValueInfoProto, extents: Mapping[str, int], largest: int) -> int:
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize
    except (KeyError, TypeError):
        return 0
    return width * prod(
        dim.dim_value if dim.HasField("dim_value") else extents.get(dim.dim_param, largest) for dim in _dims(value)
    )
