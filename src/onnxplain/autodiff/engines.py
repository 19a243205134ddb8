"""What is known of engines that run the portable form: where one returns wrong numbers, or refuses, and no form helps.

The one table of such facts. Each was measured (``docs/engines.md``), and is looked for in the differentiated model, the
model's own nodes included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from ..errors import InputError
from .forms.rewriting import is_constant
from .graph.emitter import static_shape
from .graph.io import ModelSource, read_model

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_VIEWS = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Fact:
    """One thing that an engine gets wrong (``wrong``), or refuses: of which nodes, and what to do."""

    engine: str
    wrong: bool
    what: str
    advice: str
    nodes: Callable[[ir.Graph], Iterator[ir.Node]]


@dataclass(frozen=True)
class Issue:
    """A :class:`Fact` that concerns a model, and the nodes that it concerns."""

    fact: Fact
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        effect = "returns wrong numbers" if self.fact.wrong else "refuses the model"
        first = ", ".join(repr(name) for name in self.nodes[:3])
        more = f" and {len(self.nodes) - 3} more" if len(self.nodes) > 3 else ""
        return f"{self.fact.engine} {effect}: {self.fact.what} ({first}{more}); {self.fact.advice}."


def _named(*operators: str) -> Callable[[ir.Graph], Iterator[ir.Node]]:
    return lambda graph: (node for node in graph.all_nodes() if node.op_type in operators)


def _steps(graph: ir.Graph) -> Iterator[ir.Node]:
    """HardSigmoid with β = 0."""
    for node in graph.all_nodes():
        if node.op_type == "HardSigmoid" and node.attributes.get_float("beta", 0.5) == 0:
            yield node


def _tied(graph: ir.Graph) -> Iterator[ir.Node]:
    """Products with a square weight that another product reads before."""
    read: set[ir.Value] = set()
    for node in graph.all_nodes():
        for value in node.inputs[:2] if node.op_type in _PRODUCTS else ():
            weight = _viewed(value)
            extents = None if weight is None or not is_constant(weight) else static_shape(weight)
            if weight is None or extents is None or len(extents) < 2 or extents[0] != extents[1]:
                continue
            if weight in read:
                yield node
            read.add(weight)


def _viewed(value: ir.Value | None) -> ir.Value | None:
    node = None if value is None else value.producer()
    return value if node is None or node.op_type not in _VIEWS else _viewed(node.inputs[0])


def _integer_rows(graph: ir.Graph) -> Iterator[ir.Node]:
    """Matrix products with integers that have one scale for each row of what is summed over."""
    for node in graph.all_nodes():
        value = node.inputs[1] if node.op_type in ("Gemm", "MatMul") else None
        transposed = node.attributes.get_int("transB", 0) == 1
        made = None if value is None else value.producer()
        if made is not None and made.op_type == "Transpose" and made.inputs[0] is not None:
            transposed, made = not transposed, made.inputs[0].producer()
        if made is None or made.op_type != "DequantizeLinear" or made.inputs[1] is None:
            continue
        scale, axis = static_shape(made.inputs[1]), made.attributes.get_int("axis", 1) % 2
        if scale not in (None, (), (1,)) and axis == (1 if transposed else 0):
            yield node


def _automatic(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph.all_nodes():
        if node.attributes.get_string("auto_pad", "NOTSET") == "SAME_UPPER":
            yield node


def _indices(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph.all_nodes():
        if node.op_type == "MaxPool" and any(any(v.uses()) or v.is_graph_output() for v in node.outputs[1:]):
            yield node


_SCAN = "a Scan, which is what the gradient of a recurrent operator is"
_ELSEWHERE = "run it in ONNX Runtime or OpenVINO"
FACTS: tuple[Fact, ...] = (
    Fact("openvino", True, "HardSigmoid with beta = 0, read as 0.5", "write beta = 1e-30", _steps),
    Fact("openvino", True, "a square weight that several products read", "give each a copy of the weight", _tied),
    Fact(
        "openvino",
        True,
        "a product with integers that have one scale for each row of what is summed over",
        "store that weight in floats",
        _integer_rows,
    ),
    Fact("opencv", True, "auto_pad = SAME_UPPER of extents that only the run knows", "fix the extents", _automatic),
    Fact("opencv", False, _SCAN, "fix the batch, or " + _ELSEWHERE, _named("Scan", "Loop")),
    Fact("tract", False, _SCAN, "fix the batch, or " + _ELSEWHERE, _named("Scan", "Loop")),
    Fact("webgpu", False, "the indices of MaxPool", "run it by WebAssembly", _indices),
)
#: Engines that the portable form was compared in.
ENGINES: tuple[str, ...] = (
    "onnxruntime",
    "onnxruntime-node",
    "onnxruntime-openvino",
    "onnxruntime-web",
    "opencv",
    "openvino",
    "tract",
    "webgpu",
)


def issues(differentiated: ModelSource, engine: str) -> list[Issue]:
    """Return what is known to go wrong with a differentiated model in an engine.

    Raises:
        InputError: there is no such engine in :data:`ENGINES`.
        ModelError: the model cannot be read.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(map(repr, ENGINES))}; found {engine!r}.")
    graph = read_model(differentiated).graph
    found = []
    for fact in FACTS:
        if fact.engine == engine and (nodes := list(fact.nodes(graph))):
            found.append(Issue(fact, tuple(node.name or node.op_type for node in nodes)))
    return found
