"""Differentiate a model for an explainer, and say what is in the result.

To explain the predicted class in one run, the graph itself picks it: a negative ``target`` stands for the
class with the highest score (the first of equals), and the scores of all classes become an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ..errors import InputError, ModelError
from ..signature import Gradient, InputTensor, Signature
from .differentiate import add_gradients
from .forms.prune import prune
from .graph.channels import channel_axis
from .graph.io import ModelSource, outside_files, outside_weights, read_model
from .reverse.overrides import Overrides
from .targets.classifier_scores import are_probabilities
from .targets.score import look_through
from .targets.written_out_softmax import sums_to_one

_PREFIX = "onnxplain."
_GRADIENT = f"{_PREFIX}grad."
_VALUE = f"{_PREFIX}value."
_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@dataclass(frozen=True)
class DifferentiatedModel:
    """A differentiated model, and what is in it.

    Large weights that the model keeps in files stay there: ``folder`` is where, None if ``proto`` has them all.
    ``files`` are all files besides the model's own that it was read from.
    """

    proto: onnx.ModelProto
    folder: Path | None
    files: tuple[Path, ...]
    signature: Signature

    @classmethod
    def build(
        cls,
        model: ModelSource,
        *,
        tensor: str | None = None,
        wrt: str | Sequence[str] | None = None,
        score: str = "logit",
        class_axis: int | None = None,
        form: str = "portable",
        precision: str = "float32",
        rules: Overrides | str | None = None,
        outputs: Sequence[str] = (),
        cut: Sequence[str] = (),
        gradients: bool = True,
        written_out: bool = False,
    ) -> DifferentiatedModel:
        """Differentiate ``model`` (or take one that already is) and let it pick the predicted class.

        The arguments and errors are those of :func:`~onnxplain.autodiff.differentiate`; ``outputs`` names inner
        tensors whose values become outputs, ``cut`` those that become inputs. For CUDA the maximum over channels of
        every absolute gradient is an output too, so that a map need not bring its channels to the host. Without
        ``gradients`` there are only scores, also for models that have no gradient, and ``wrt`` names the inputs that
        are to be explained.
        ``written_out``: with fused attention in operators of its own.
        """
        graph_model = read_model(model)
        if f"{_PREFIX}target" not in graph_model.metadata_props:
            add_gradients(
                graph_model,
                tensor=tensor,
                wrt=wrt,
                score=score,
                class_axis=class_axis,
                form=form,
                precision=precision,
                rules=rules,
                values=outputs,
                cut=cut,
                gradients=gradients,
                written_out=written_out,
            )
        elif (
            tensor is not None
            or wrt is not None
            or score != "logit"
            or class_axis is not None
            or precision != "float32"
            or rules
            or outputs
            or cut
            or written_out
        ):
            raise InputError(
                "the model is already differentiated: tensor, wrt, score, class_axis, precision, rules and inner "
                "tensors were chosen then. Pass the original model."
            )
        found = _describe(graph_model, magnitudes=gradients and form == "cuda")
        if gradients:
            return found
        perturbed = found.signature.perturbed or _inputs(found.signature, wrt)
        return replace(found, signature=replace(found.signature, gradients=(), perturbed=perturbed))

    def scores_only(self) -> onnx.ModelProto:
        """The forward part: the model's inputs, and the class scores as the only output."""
        model = ir.serde.deserialize_model(self.proto)
        graph = model.graph
        kept = [v for v in graph.outputs if v.name == self.signature.class_scores]
        graph.outputs.clear()
        graph.outputs.extend(kept)
        prune(model)
        for value in [v for v in graph.inputs if v.name == self.signature.target]:
            graph.inputs.remove(value)
        return ir.serde.serialize_model(model)


def _describe(model: ir.Model, *, magnitudes: bool) -> DifferentiatedModel:
    graph, metadata = model.graph, dict(model.metadata_props)
    target_name, score_name = metadata[f"{_PREFIX}target"], metadata[f"{_PREFIX}score"]
    target = next(v for v in graph.inputs if v.name == target_name)
    inputs = tuple(describe_input(v) for v in graph.inputs if v is not target)
    values = {v.name: v for node in graph for v in node.outputs} | {v.name: v for v in graph.inputs}
    gradients = tuple(
        _gradient(values[key.removeprefix(_GRADIENT)], output)
        for key, output in metadata.items()
        if key.startswith(_GRADIENT)
    )
    if magnitudes:
        gradients = tuple(_with_magnitude(graph, gradient, values[gradient.output]) for gradient in gradients)
    score_tensor = values[metadata[f"{_PREFIX}score_tensor"]]
    class_scores = _pick_in_graph(graph, target, values[score_name])
    assert target.shape is not None and class_scores.shape is not None
    batch, classes = target.shape[0], class_scores.shape[1]
    signature = Signature(
        inputs=inputs,
        gradients=gradients,
        perturbed=tuple(dict.fromkeys(g.source for g in gradients)),
        target=target_name,
        score=score_name,
        class_scores=class_scores.name or "",
        score_tensor=score_tensor.name or "",
        classes=classes if isinstance(classes, int) else None,
        probability=metadata.get(f"{_PREFIX}probability") or _probability(score_tensor, classes),
        batch=batch if isinstance(batch, int) else None,
        batched=frozenset(i.name for i in inputs if i.shape and (isinstance(i.shape[0], str) or i.shape[0] == batch)),
        metadata={k: v for k, v in metadata.items() if k in _KEPT or not k.startswith(_PREFIX)},
        tensors={k.removeprefix(_VALUE): v for k, v in metadata.items() if k.startswith(_VALUE)},
    )
    folder = next((Path(tensor.base_dir) for tensor in outside_weights(model)), None)
    return DifferentiatedModel(ir.serde.serialize_model(model), folder, outside_files(model), signature)


def _inputs(signature: Signature, names: str | Sequence[str] | None) -> tuple[str, ...]:
    """``names`` that are inputs, all of them if None."""
    known = tuple(i.name for i in signature.inputs)
    chosen = known if names is None else (names,) if isinstance(names, str) else tuple(names)
    for name in chosen:
        if name not in known:
            raise InputError(f"without gradients only inputs can be explained: {', '.join(known)}; found {name!r}.")
    return chosen


#: Metadata that describe the model or its gradient; the rest of ours names parts of the differentiated model.
_KEPT = (f"{_PREFIX}preprocessing", f"{_PREFIX}labels", f"{_PREFIX}straight_through", f"{_PREFIX}replaced_rules")


def describe_input(value: ir.Value) -> InputTensor:
    """What is known of an input; refuses one without a rank.

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


def _gradient(value: ir.Value, output: str) -> Gradient:
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
    return Gradient(value.name or "", source.name or "", output, rank, axis)


def _with_magnitude(graph: ir.Graph, gradient: Gradient, value: ir.Value) -> Gradient:
    """Add the output with the maximum over channels of the absolute gradient, where there are channels."""
    if gradient.channel_axis is None or value.shape is None or value.dtype == ir.DataType.BFLOAT16:
        return gradient
    axes = ir.Value(name=f"{gradient.output}/channels", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
    axes.const_value = ir.tensor(np.array([gradient.channel_axis], np.int64), name=axes.name)
    graph.register_initializer(axes)
    absolute = ir.node("Abs", [value], name=f"{gradient.output}/Abs")
    maximum = ir.node("ReduceMax", [absolute.outputs[0], axes], {"keepdims": 0}, name=f"{gradient.output}/ReduceMax")
    absolute.outputs[0].name, result = absolute.name, maximum.outputs[0]
    result.name, result.type = f"{gradient.output}/magnitude", value.type
    result.shape = ir.Shape([d for axis, d in enumerate(value.shape) if axis != gradient.channel_axis])
    graph.extend([absolute, maximum])
    graph.outputs.append(result)
    return replace(gradient, magnitude=result.name)


def _pick_in_graph(graph: ir.Graph, target: ir.Value, score: ir.Value) -> ir.Value:
    """Replace ``target`` by the predicted class where it is negative; returns the class scores [N,K].

    The score is ``Squeeze(GatherElements(class scores, target))``, the class scores are float32 or float64.
    """
    squeeze = score.producer()
    gather = None if squeeze is None or squeeze.inputs[0] is None else squeeze.inputs[0].producer()
    if gather is None or gather.op_type != "GatherElements" or gather.inputs[0] is None:
        raise ModelError("the model's metadata say that onnxplain differentiated it, but its score is not picked by it")
    scores = gather.inputs[0]
    assert scores.dtype is not None and scores.shape is not None and target.shape is not None
    readers = [(use.node, use.idx) for use in target.uses()]
    wide = ir.DataType.FLOAT if scores.dtype in _HALF else scores.dtype
    zero = ir.Value(name="predicted/zero", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
    zero.const_value = ir.tensor(np.array(0, np.int64), name=zero.name)
    graph.register_initializer(zero)

    def emit(op_type: str, inputs: list[ir.Value], attributes: dict[str, int], dtype: ir.DataType) -> ir.Value:
        node = ir.node(op_type, inputs, attributes, name=f"predicted/{op_type}")
        value = node.outputs[0]
        value.name, value.type, value.shape = node.name, ir.TensorType(dtype), target.shape
        graph.append(node)
        return value

    class_scores = emit("Cast", [scores], {"to": int(wide)}, wide)
    class_scores.shape = scores.shape
    graph.outputs.append(class_scores)
    predicted = emit("ArgMax", [class_scores], {"axis": 1, "keepdims": 0}, ir.DataType.INT64)
    chosen = emit("Less", [target, zero], {}, ir.DataType.BOOL)
    effective = emit("Where", [chosen, predicted, target], {}, ir.DataType.INT64)
    for node, index in readers:
        node.replace_input_with(index, effective)
    graph.sort()
    return class_scores


def _probability(score_tensor: ir.Value, classes: int | ir.SymbolicDim) -> str | None:
    if score_tensor.shape is None or [d for d in score_tensor.shape[1:] if d != 1] not in ([classes], []):
        return None  # summed over positions
    if are_probabilities(score_tensor):
        return "identity"
    head = look_through(score_tensor)
    if head.before is not score_tensor:
        return "softmax" if head.logarithm else "identity"
    if sums_to_one(score_tensor):
        return "identity"
    if any(use.node.op_type == "Sigmoid" for use in score_tensor.uses()):
        return "sigmoid"
    return None if classes == 1 else "softmax"
