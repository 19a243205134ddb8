"""The model that an explainer runs, and its signature.

To explain the predicted class in one run, the graph itself picks it: a negative ``target`` stands for the
class with the highest score (the first of equals), and the scores of all classes become an output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ..errors import InputError, ModelError
from ..signature import Gradient, InputTensor, Places, Signature
from .differentiate import add_gradients
from .forms.prune import prune
from .graph.channels import channel_axis
from .graph.editing import set_input
from .graph.emitter import Emitter
from .graph.guard import guarded
from .graph.inference import Inference
from .graph.io import ModelSource, outside_files, outside_weights, read_model, serialized
from .public import PublicNames
from .request import Request
from .targets.axes import is_same
from .targets.question import predicted
from .targets.score import Scores

#: Weights in files of their own that have no more bytes together are taken in: twice as many, with those of the
#: gradient, fit into a message and into the cache.
TAKEN_IN = 1 << 29
_PREFIX = "onnxplain."
_GRADIENT, _VALUE, _MAGNITUDE = f"{_PREFIX}grad.", f"{_PREFIX}value.", f"{_PREFIX}magnitude."
#: Inputs that a target adds besides the class.
_PLACED = ("position", "region", "box", "reference", "cotangent")
_ROLES = ("contrast", *_PLACED, *(f"contrast_{role}" for role in _PLACED))
#: Metadata that describe the model or its gradient; the rest of ours names parts of the differentiated model.
_KEPT = tuple(_PREFIX + key for key in ("preprocessing", "labels", "layout", "straight_through", "replaced_rules"))


@dataclass(frozen=True)
class DifferentiatedModel:
    """A differentiated model, and what is in it.

    Weights of more than ``TAKEN_IN`` bytes that the model keeps in files stay there: ``folder`` is where, None if
    ``proto`` has them all.
    ``files`` are all files besides the model's own that it was read from.
    """

    proto: onnx.ModelProto
    folder: Path | None
    files: tuple[Path, ...]
    signature: Signature

    @classmethod
    @guarded()
    def build(cls, model: ModelSource, request: Request) -> DifferentiatedModel:
        """Differentiate ``model`` (or take one that already is) and let it pick the predicted class.

        For CUDA the maximum over channels of every absolute gradient is an output too, so that a map need not bring its
        channels to the host. Without gradients there are only scores, also for models that have no gradient, and
        ``wrt`` names the inputs that are to be explained.

        Raises:
            ModelError, UnsupportedOperatorError, InputError: as for :func:`~onnxplain.autodiff.differentiate`; or the
                model is differentiated already, for other options.
        """
        graph_model = read_model(model, taken_in=TAKEN_IN)
        request = replace(request, predict=True, magnitudes=request.gradients and request.form == "cuda")
        scores = None
        if f"{_PREFIX}photo" in graph_model.metadata_props:
            raise InputError("the model takes photos itself, with its preprocessing inside; pass the original model.")
        if f"{_PREFIX}score_tensor" not in graph_model.metadata_props:
            scores = add_gradients(graph_model, request)
        elif not request.is_plain:
            raise InputError(
                "the model is already differentiated: tensor, wrt, score, layout, class_axis, precision, rules and "
                "inner tensors were chosen then. Pass the original model."
            )
        else:
            _let_predict(graph_model)
        signature = _describe(graph_model, scores, request)
        folder = next((Path(tensor.base_dir) for tensor in outside_weights(graph_model)), None)
        return cls(serialized(graph_model), folder, outside_files(graph_model), signature)

    def scores_only(self) -> onnx.ModelProto:
        """Return the forward part: the model's inputs, and the scores as the only outputs."""
        model = ir.serde.deserialize_model(self.proto)
        graph, places = model.graph, self.signature.places
        if places is None:
            wanted = {self.signature.class_scores}
        else:
            wanted = {name for name in (places.scores, places.boxes, places.confidence) if name}
        kept = [v for v in graph.outputs if v.name in wanted]
        graph.outputs.clear()
        graph.outputs.extend(kept)
        prune(model)
        added = {self.signature.target, *self.signature.target_inputs.values()}
        for value in [v for v in graph.inputs if v.name in added and not v.uses()]:
            graph.inputs.remove(value)
        return ir.serde.serialize_model(model)


def _let_predict(model: ir.Model) -> None:
    """Let a model that was differentiated for given classes pick the predicted one where ``target`` is negative.

    The class that is picked is ``Where(target < 0, K, target)``: K, out of range, makes way for the predicted class.

    Raises:
        ModelError: it was differentiated for something else than a class.
    """
    graph, metadata = model.graph, model.metadata_props
    target = next((v for v in graph.inputs if v.name == metadata.get(f"{_PREFIX}target")), None)
    wheres = [] if target is None else [use.node for use in target.uses() if use.node.op_type == "Where"]
    picks = [node for where in wheres for node in _reads_of(where.outputs[0], "GatherElements")]
    if not picks or picks[0].inputs[0] is None or not any(f"{_PREFIX}{role}" not in metadata for role in _ROLES):
        raise ModelError(
            "the model's metadata say that onnxplain differentiated it, but not for one class of each sample; pass the "
            "original model."
        )
    class_scores = picks[0].inputs[0]
    emit = Emitter(graph, Inference(graph.opset_imports))
    with emit.scope("score"):
        chosen = predicted(emit, class_scores, None)
        set_input(wheres[0], 1, chosen)
        wide = class_scores.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
        value = emit.Cast(class_scores, to=ir.DataType.FLOAT) if wide else emit.Identity(class_scores)
    PublicNames(model, emit).output(value, "class_scores", "class_scores")
    graph.sort()


def _reads_of(value: ir.Value, op_type: str) -> list[ir.Node]:
    """The nodes of an operator that read ``value``, directly or as the column that an Unsqueeze makes of it."""
    columns = [use.node.outputs[0] for use in value.uses() if use.node.op_type == "Unsqueeze"]
    return [use.node for v in (value, *columns) for use in v.uses() if use.node.op_type == op_type]


def _describe(model: ir.Model, scores: Scores | None, request: Request) -> Signature:
    """The signature of a differentiated model, from its metadata and its graph."""
    graph, metadata = model.graph, dict(model.metadata_props)
    values = {v.name: v for node in graph for v in node.outputs} | {v.name: v for v in graph.inputs}
    target = values[metadata[f"{_PREFIX}target"]]
    roles = {role: name for role in _ROLES if (name := metadata.get(f"{_PREFIX}{role}")) is not None}
    added = {target.name, *roles.values()}
    inputs = tuple(describe_input(v) for v in graph.inputs if v.name not in added)
    class_scores = values[metadata[f"{_PREFIX}class_scores"]]
    assert target.shape is not None and class_scores.shape is not None
    batch, classes = target.shape[0], class_scores.shape[1]
    gradients = _gradients(values, metadata)
    perturbed = tuple(dict.fromkeys(g.source for g in gradients)) or _chosen(inputs, request.wrt)
    return Signature(
        inputs=inputs,
        gradients=gradients if request.gradients else (),
        perturbed=perturbed,
        target=target.name or "",
        target_inputs=roles,
        score=metadata[f"{_PREFIX}score"],
        class_scores=class_scores.name or "",
        score_tensor=metadata[f"{_PREFIX}score_tensor"],
        classes=classes if isinstance(classes, int) else None,
        places=_places(scores, metadata) if scores is not None and "region" in roles else None,
        probability=metadata.get(f"{_PREFIX}probability"),
        batch=batch if isinstance(batch, int) else None,
        batched=frozenset(
            v.name or "" for v in graph.inputs if v.name not in added and v.shape and _is_batched(v.shape[0], batch)
        ),
        influence=metadata.get(f"{_PREFIX}influence"),
        metadata=_kept(metadata),
        tensors={k.removeprefix(_VALUE): v for k, v in metadata.items() if k.startswith(_VALUE)},
        weighted=_weighted(values.get(roles.get("cotangent"))),
    )


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata that describe the model or its gradient."""
    return {k: v for k, v in metadata.items() if k in _KEPT or not k.startswith(_PREFIX)}


def _gradients(values: Mapping[str | None, ir.Value], metadata: Mapping[str, str]) -> tuple[Gradient, ...]:
    """The gradients that the metadata name."""
    return tuple(
        _gradient(values[key.removeprefix(_GRADIENT)], output, metadata.get(key.replace(_GRADIENT, _MAGNITUDE)))
        for key, output in metadata.items()
        if key.startswith(_GRADIENT)
    )


def _weighted(cotangent: ir.Value | None) -> tuple[int | str, ...] | None:
    """The shape of the output of one sample, of which the cotangent has the weights."""
    return None if cotangent is None or cotangent.shape is None else _extents(cotangent.shape[1:])


def _extents(shape: Iterable[int | ir.SymbolicDim]) -> tuple[int | str, ...]:
    return tuple(extent if isinstance(extent, int) else str(extent.value) for extent in shape)


def _places(scores: Scores, metadata: dict[str, str]) -> Places:
    """The places of the output."""
    return Places(
        layout=scores.layout,
        scores=metadata[f"{_PREFIX}scores"],
        class_axis=scores.class_axis,
        extents=_extents(scores.extents),
        boxes=metadata.get(f"{_PREFIX}boxes", ""),
        confidence=metadata.get(f"{_PREFIX}confidence", ""),
        blank=scores.blank,
    )


def _is_batched(extent: int | ir.SymbolicDim, batch: int | ir.SymbolicDim) -> bool:
    """Whether an input's first axis is the batch: of its extent, or open where the batch is fixed."""
    return is_same(extent, batch) or (isinstance(batch, int) and not isinstance(extent, int))


def _chosen(inputs: tuple[InputTensor, ...], names: tuple[str, ...] | None) -> tuple[str, ...]:
    """``names`` that are inputs, all of them if None."""
    known = tuple(i.name for i in inputs)
    for name in names or ():
        if name not in known:
            raise InputError(f"without gradients only inputs can be explained: {', '.join(known)}; found {name!r}.")
    return known if names is None else names


def describe_input(value: ir.Value) -> InputTensor:
    """Return what is known of an input; refuse one without a rank.

    Raises:
        ModelError: its rank is unknown.
    """
    if value.shape is None:
        raise ModelError(f"the rank of input {value.name!r} is unknown; give the model's inputs static ranks.")
    shape = tuple(d if isinstance(d, int) else str(d.value) for d in value.shape)
    return InputTensor(value.name or "", _numpy_name(value.dtype), shape, channel_axis(value))


def _numpy_name(dtype: ir.DataType | None) -> str:
    try:
        return "" if dtype is None else np.dtype(dtype.numpy()).name
    except TypeError:
        return ""


def _gradient(value: ir.Value, output: str, magnitude: str | None) -> Gradient:
    """What ``output`` belongs to. A tensor with one axis more than its input holds features in the last."""
    source, pending, seen = value, [value], {value}
    while pending:
        source = pending.pop()
        if source.is_graph_input():
            break
        producer = source.producer()
        found = [] if producer is None else [v for v in producer.inputs if v is not None and v not in seen]
        seen.update(found)
        pending += found
    assert source.shape is not None
    rank = len(source.shape if value.shape is None else value.shape)
    axis = channel_axis(value)
    if axis is None and rank > len(source.shape):
        axis = rank - 1
    return Gradient(value.name or "", source.name or "", output, rank, axis, magnitude)
