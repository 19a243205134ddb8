"""What a model is and whether it can be differentiated, without stopping at the first obstacle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from ..errors import InputError, ModelError, UnsupportedOperatorError
from ..signature import InputTensor
from .differentiate import add_gradients
from .explainable import describe_input
from .graph.copying import loose_value
from .graph.emitter import Emitter
from .graph.guard import guarded
from .graph.io import ModelSource, read_model, without_outside_weights
from .graph.schemas import since_version
from .landmarks.feature_maps import find_feature_map
from .prepare.order import prepare
from .request import Request
from .reverse.reach import Path, reads
from .reverse.walk import walk
from .targets.explained import explained

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .request import Options


@dataclass(frozen=True)
class OperatorSupport:
    """An operator on the path from the inputs to the score: how many nodes, and why some have no rule."""

    domain: str
    op_type: str
    version: int | None
    count: int
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class ModelSummary:
    """What :func:`summarize` finds.

    ``outputs`` are (name, type, shape) in words; ``score_tensor``, ``class_axis``, ``classes`` (None if not fixed),
    ``layout`` and the extents of the ``places`` say what is explained; ``layer`` is the last feature map, None if there
    is none; ``problem`` is the reason why there is no path at all. ``nodes_after`` counts the nodes of the
    differentiated model, None if there is none.
    """

    producer: str
    opsets: dict[str, int]
    inputs: tuple[InputTensor, ...]
    outputs: tuple[tuple[str, str, str], ...]
    score_tensor: str | None
    class_axis: int | None
    classes: int | None
    layout: str | None
    places: tuple[int | str, ...]
    layer: str | None
    operators: tuple[OperatorSupport, ...]
    nodes_before: int
    nodes_after: int | None
    metadata: dict[str, str]
    problem: str | None

    @property
    def differentiable(self) -> bool:
        """Whether :func:`~onnxplain.autodiff.differentiate` succeeds."""
        return self.nodes_after is not None

    @property
    def refusals(self) -> list[str]:
        """Why operators have no rule, one sentence each."""
        return [sentence for operator in self.operators for sentence in operator.refusals]

    @property
    def batch(self) -> int | str | None:
        """The first axis of the first input: a number if the model fixes it, else its name."""
        return self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else None


@guarded()
def summarize(model: ModelSource, **options: Unpack[Options]) -> ModelSummary:
    """Look at every operator on the path, whatever the others are.

    The options are those of :func:`~onnxplain.autodiff.differentiate`.

    Raises:
        ModelError: the model cannot be read, or an input has no known rank.
        InputError: ``tensor``, ``score`` or ``class_axis`` does not fit the model.
    """
    request = Request.of(**options)
    graph_model = read_model(model)
    graph = graph_model.graph
    producer = " ".join(filter(None, [graph_model.producer_name, graph_model.producer_version])) or "unknown"
    opsets, nodes_before = dict(graph.opset_imports), len(graph)
    emit = Emitter(graph, prepare(graph_model))
    scores, path, problem = None, None, None
    operators: tuple[OperatorSupport, ...] = ()
    try:
        scores = explained(
            emit,
            graph_model,
            tensor=request.tensor,
            layout=request.layout_of(graph_model.metadata_props),
            score=request.score,
            class_axis=request.class_axis,
        )
        path = Path.from_inputs(graph, scores.value)
        operators = _operators(emit, path)
    except ModelError as error:
        problem = str(error)
    after = None
    if scores is not None and problem is None and not any(operator.refusals for operator in operators):
        differentiated = read_model(model)
        add_gradients(differentiated, replace(request, predict=bool(scores.extents)))
        after = len(without_outside_weights(differentiated).graph.node)
    classes = None if scores is None else scores.classes
    return ModelSummary(
        producer=producer,
        opsets=opsets,
        inputs=tuple(describe_input(value) for value in graph.inputs),
        outputs=tuple((v.name or "", str(v.dtype or v.type), str(v.shape)) for v in graph.outputs),
        score_tensor=None if scores is None else scores.tensor,
        class_axis=None if scores is None else scores.output_axis,
        classes=classes if isinstance(classes, int) else None,
        layout=None if scores is None else scores.layout,
        places=() if scores is None else tuple(d if isinstance(d, int) else str(d.value) for d in scores.extents),
        layer=None if path is None or problem is not None else _layer(graph, path),
        operators=operators,
        nodes_before=nodes_before,
        nodes_after=after,
        metadata=dict(graph_model.metadata_props),
        problem=problem,
    )


def _layer(graph: ir.Graph, path: Path) -> str | None:
    """The last feature map, where one input leads to it."""
    try:
        return find_feature_map(graph, path.sources[0], path.output, None).name if len(path.sources) == 1 else None
    except InputError:
        return None


def _operators(emit: Emitter, path: Path) -> tuple[OperatorSupport, ...]:
    """Every operator on the path, with the refusals of its nodes, in order of first use."""
    if not path.leads:
        raise ModelError(
            f"no float path leads from an input to the score tensor {path.output.name!r}: it has no gradient."
        )
    graph = emit.graph
    counts: dict[tuple[str, str], int] = {}
    refusals: dict[tuple[str, str], dict[str, None]] = {}
    for node in path.steps:
        ahead = [v for v in node.outputs if v in path.values]
        behind = [v for v in reads(node) if v in path.active]
        key = (node.domain, node.op_type)
        counts[key] = counts.get(key, 0) + 1
        found = refusals.setdefault(key, {})
        try:
            walk(emit, [node], {v: loose_value(v) for v in ahead}, behind, graph.opset_imports)
        except UnsupportedOperatorError as error:
            found[str(error)] = None
    return tuple(
        OperatorSupport(domain, op_type, _version(domain, op_type, graph), count, tuple(refusals[domain, op_type]))
        for (domain, op_type), count in counts.items()
    )


def _version(domain: str, op_type: str, graph: ir.Graph) -> int | None:
    return since_version(domain, op_type, graph.opset_imports.get(domain, 0))
