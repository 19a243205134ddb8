"""Put the operators into a model that ONNX Runtime has optimised."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from .chains import chains
from .editing import BLOCKED, Graph
from .gates import gates
from .interleave import interleaved
from .lanes import lanes
from .pools import pools
from .reorders import reorders
from .report import Report


def rewrite_file(file: Path) -> Report:
    """Rewrite a model that ONNX Runtime optimised and wrote, in its file; weights beside it stay there, unread.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: it is no model.
    """
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{file} is no model: {error}") from error
    report = rewrite(model)
    if report.fused:
        file.write_bytes(model.SerializeToString())
    return report


def rewrite(model: onnx.ModelProto) -> Report:
    """Rewrite a model in place. Patterns are found by structure, and left wherever the result might differ."""
    graph, report = Graph(model), Report()
    width = lanes() if any(node.domain == BLOCKED for node in model.graph.node) else 1
    report.add(interleaved(graph, width))
    report.add(pools(graph, width))
    report.add(gates(graph))
    reorders(graph, width)
    report.add(chains(graph, width))
    if report.fused:
        reorders(graph, width)
        report.fused = graph.write()  # chains may have taken in gates
    return report
