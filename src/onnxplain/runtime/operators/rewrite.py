"""Put the operators into a model that ONNX Runtime has optimised."""

from __future__ import annotations

from pathlib import Path

import onnx

from .chains import chains
from .editing import BLOCKED, Graph
from .gates import gates
from .interleave import interleaved
from .lanes import lanes
from .model_file import ModelFile
from .pools import pools
from .reorders import reorders
from .report import Report


def rewrite_file(file: Path) -> Report:
    """Rewrite a model that ONNX Runtime optimised and wrote, in its file.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: it is no model.
    """
    given = ModelFile.read(file)
    report = rewrite(given.model)
    if report.fused:
        given.write()
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
