"""ONNX model in, the same model with gradients as outputs out: reverse-mode autodiff on the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import onnx
import onnx_ir as ir

from ..errors import InputError, ModelError, UnsupportedOperatorError
from .forms.keep_integer_kernels import keep_integer_kernels
from .forms.order import passes_for, rewrite_for_provider
from .forms.prune import prune
from .forms.report import Report
from .forms.transpose_in_float32 import transpose_in_float32
from .graph.emitter import Emitter
from .graph.inference import advice_on_rank
from .graph.io import ModelSource, read_model, write_model
from .graph.operator import Operator
from .prepare.expand_attention import write_out_attention
from .prepare.half_precision import GRADIENT_SCALE, single, to_half_precision
from .prepare.order import check, prepare
from .reverse.overrides import Overrides, Rules
from .reverse.quantized import is_whole
from .reverse.reach import depends_on, is_float, needed_for, rounding, stand_ins
from .reverse.rule_sets import rule_set
from .reverse.walk import walk
from .targets.saliency_output import add_saliency
from .targets.score import find_output, find_score, target_seed


class Options(TypedDict, total=False):
    """What :func:`differentiate` can be told besides the model."""

    tensor: str | None
    wrt: str | Sequence[str] | None
    target: str | None
    score: str
    class_axis: int | None
    saliency: bool
    channel_axis: int | None
    straight_through: bool
    rules: Overrides | str | None
    form: str
    precision: str
    report: Report | None


def differentiate(
    model: ModelSource,
    target: str | None = None,
    *,
    tensor: str | None = None,
    wrt: str | Sequence[str] | None = None,
    score: str = "logit",
    class_axis: int | None = None,
    saliency: bool = False,
    channel_axis: int | None = None,
    straight_through: bool = True,
    rules: Overrides | str | None = None,
    form: str = "portable",
    precision: str = "float32",
    report: Report | None = None,
) -> onnx.ModelProto:
    """The model with the gradient of a class score as ordinary outputs.

    S_c near an image is linear with slope w = dS_c/dI (Simonyan, Vedaldi, Zisserman 2013, section 3);
    the result computes w for the class given at run time, by one backward pass with fixed weights.

    Args:
        model: path, bytes or ``onnx.ModelProto``; external data beside a path is found. Never modified.
        tensor: name of any float tensor of the graph; default the first float output that depends on
            a float input.
        wrt: names of inputs or inner tensors to differentiate with respect to; default every float
            input that reaches the score. For an integer input (uint8 pixels, token ids) the first
            float tensors computed from it stand in.
        target: None adds the int64 input ``target`` [N], the class index of each sample, and the
            float output ``score`` [N]; positions other than the class are summed. ``"cotangent"``
            adds the float input ``cotangent``, shaped like the output: a vector-Jacobian product.
        score: ``"logit"`` looks through a final Softmax, LogSoftmax or Sigmoid and takes the tensor
            before it, also where a softmax is written out in simpler operators; ``"probability"`` keeps it.
        class_axis: the axis of the output that counts classes, if it is not the usual one (axis 1; the
            last axis for [N,T,K] and for channels-last models; the axis of the final softmax).
        saliency: also add an output ``saliency_<input>`` [N,H,W] for every image input: the maximum
            over channels of the absolute gradient, divided by its maximum per image.
        channel_axis: the channel axis of the images for ``saliency``; default found from the graph.
        straight_through: let the gradient through the rounding of quantised models as if it were the
            identity, and stop it where a value was saturated. The metadata ``onnxplain.straight_through``
            then count the nodes that round. False refuses such models: their derivative is zero.
        rules: rules that take the place of the usual ones in this call, by operator (``"Relu"``) or by domain and
            operator (``("my.domain", "MyOperator")``), in subgraphs too; see ``docs/custom_rules.md``. Models are
            brought to opset 18 or newer first, so the names and attributes are those of that opset. The metadata
            ``onnxplain.replaced_rules`` then say how often one of them was applied. Also the name of a set of them,
            ``"guided_backprop"`` or ``"deconvnet"``.
        form: ``"cpu"`` writes the gradient in the forms that are fastest on ONNX Runtime's CPU provider,
            ``"cpu_shared"`` in those for one sample at a time on several cores; ``"portable"`` and ``"cuda"`` leave it
            as the rules write it. All of them run everywhere and agree to float32 rounding.
        precision: ``"float16"`` computes in half precision what the model computes in float32, for GPUs: inputs,
            outputs and gradients stay float32, and their values change, by what ``benchmarks/RESULTS.md`` states for
            some networks. Gradients are scaled on their way, so that small ones are not lost.
        report: is filled with what was rewritten for the provider, and what was left alone and why.

    Returns:
        The differentiated model: all original inputs and outputs, unchanged in value, and one output
        ``grad_<name>`` per name, shaped like it. A symbolic batch stays symbolic. Where the model
        already has an input or output of one of these names, ``_2``, ``_3`` ... is appended; the
        metadata ``onnxplain.target``, ``onnxplain.score``, ``onnxplain.cotangent`` and
        ``onnxplain.grad.<name>`` hold the names that were given.

    Raises:
        ModelError: the model cannot be read, or has no float path to the score.
        UnsupportedOperatorError: an operator or configuration on the path has no rule.
        InputError: ``tensor``, ``wrt``, ``target``, ``score`` or an axis does not fit the model, or ``rules`` names
            an operator that nobody knows, or there is no such ``form`` or ``precision``.
    """
    graph_model = read_model(model)
    add_gradients(
        graph_model,
        tensor=tensor,
        wrt=wrt,
        target=target,
        score=score,
        class_axis=class_axis,
        saliency=saliency,
        channel_axis=channel_axis,
        straight_through=straight_through,
        rules=rules,
        form=form,
        precision=precision,
        report=report,
    )
    return write_model(graph_model)


def add_gradients(
    graph_model: ir.Model,
    *,
    tensor: str | None = None,
    wrt: str | Sequence[str] | None = None,
    target: str | None = None,
    score: str = "logit",
    class_axis: int | None = None,
    saliency: bool = False,
    channel_axis: int | None = None,
    straight_through: bool = True,
    rules: Overrides | str | None = None,
    form: str = "portable",
    precision: str = "float32",
    report: Report | None = None,
    values: Sequence[str] = (),
    cut: Sequence[str] = (),
    gradients: bool = True,
    written_out: bool = False,
) -> None:
    """:func:`differentiate` for a model that :func:`~.graph.io.read_model` read, in place.

    ``values`` names inner tensors whose values become outputs, called ``value_<name>``, ``cut`` those that become
    inputs of the same name, so that the model begins there. Without ``gradients`` only the score is added, of models
    that need not have any; ``wrt`` then means nothing. ``written_out``: with fused attention in operators of its own,
    so that its probabilities are tensors.
    """
    if target not in (None, "cotangent"):
        raise InputError(f"target must be None or 'cotangent'; found {target!r}.")
    if precision not in ("float32", "float16"):
        raise InputError(f"precision must be 'float32' or 'float16'; found {precision!r}.")
    half = precision == "float16"
    chosen, passes = Rules(rule_set(rules)), passes_for(form)
    inference = prepare(graph_model)
    graph = graph_model.graph
    if written_out:
        write_out_attention(Emitter(graph, inference))
    for value in _named(graph, list(graph), cut):
        _make_input(graph, value)
    if half:
        to_half_precision(graph_model)
    chosen.check(graph.all_nodes())
    result = find_output(graph_model, tensor, gradients=gradients)
    head = find_score(graph_model, result, score, class_axis, gradients=gradients) if target is None else None
    emit = Emitter(graph, inference)
    score_tensor = result if head is None else head.value
    differentiated = single(emit, score_tensor) if half else score_tensor
    nodes = list(graph)
    public = _PublicNames(graph_model)
    if head is not None:
        if head.probability is not None:
            public.record("probability", head.probability)
        if head.class_axis is not None:
            public.record("class_axis", str(head.class_axis))
        index = ir.Value(
            name=public.fresh("target"),
            shape=ir.Shape([_batch(graph, head.value)]),
            type=ir.TensorType(ir.DataType.INT64),
        )
        with emit.scope("score"):
            start, picked = target_seed(emit, replace(head, value=differentiated), index)
        graph.inputs.append(index)
        public.output(picked, "score", "score")
    else:
        start = ir.Value(name=public.fresh("cotangent"), shape=differentiated.shape, type=differentiated.type)
        graph.inputs.append(start)
    variables = _variables(graph, nodes, wrt, differentiated) if gradients else []
    if crossed := rounding(nodes, variables, differentiated):
        if not straight_through:
            raise _refusal(crossed[0], graph.opset_imports)
        public.record("straight_through", str(len(crossed)))
    if half:
        start = emit.Mul(start, GRADIENT_SCALE)
    found = walk(emit, nodes, {differentiated: start}, variables, graph.opset_imports, chosen)
    if start.is_graph_input() and start.shape is None:
        raise ModelError(f"the rank of {differentiated.name!r} is unknown; {advice_on_rank(differentiated)}.")
    if rules:
        public.record("replaced_rules", str(chosen.applied))
    for variable in variables:
        gradient = found.get(variable)
        with emit.scope(f"{variable.name}"):
            gradient = _zeros(emit, variable) if gradient is None else gradient
            if half:
                gradient = emit.Mul(single(emit, gradient), 1 / GRADIENT_SCALE)
            if saliency and variable.is_graph_input():
                add_saliency(emit, public.output, variable, gradient, channel_axis)
        public.output(gradient, f"grad_{variable.name}", f"grad.{variable.name}")
    for value in _named(graph, nodes, values):
        name = value.name or ""
        public.output(emit.Identity(single(emit, value) if half else value), f"value_{name}", f"value.{name}")
    public.record("score_tensor", score_tensor.name or "")
    keep_integer_kernels(emit, nodes)
    prune(graph_model)
    if passes:
        rewrite_for_provider(emit, nodes, passes, report)
        prune(graph_model)
    transpose_in_float32(graph_model)
    check(graph_model, "the differentiated model")


def _variables(
    graph: ir.Graph, nodes: Sequence[ir.Node], wrt: str | Sequence[str] | None, score: ir.Value
) -> list[ir.Value]:
    needed = needed_for(nodes, score)
    if wrt is None:
        sources = [v for v in graph.inputs if v in needed]
        found = [v for source in sources for v in stand_ins(nodes, source) if v in needed]
        found = [v for v in dict.fromkeys(found) if score in depends_on(nodes, [v])]
        if found:
            return found
        raise ModelError(
            f"no float path leads from an input to the score tensor {score.name!r}: it has no gradient. "
            "Name another tensor with tensor=."
        )
    names = [wrt] if isinstance(wrt, str) else list(wrt)
    if not names:
        raise InputError("wrt is empty; name at least one input or inner tensor, or leave it out.")
    values = {v.name: v for v in graph.inputs} | {v.name: v for node in nodes for v in node.outputs}
    values |= {name: v for name, v in graph.initializers.items() if name not in values}
    found = []
    for name in names:
        if name not in values:
            inputs = ", ".join(repr(v.name) for v in graph.inputs)
            raise InputError(f"wrt names {name!r}, which is not in the graph; the model's inputs are {inputs}.")
        value = values[name]
        usable = [value] if is_float(value) else stand_ins(nodes, value)
        usable = [v for v in usable if score in depends_on(nodes, [v])]
        if not usable:
            raise ModelError(f"no float path leads from {name!r} to the score tensor {score.name!r}.")
        found += usable
    return list(dict.fromkeys(found))


def _named(graph: ir.Graph, nodes: Sequence[ir.Node], names: Sequence[str]) -> list[ir.Value]:
    values = {v.name: v for v in graph.inputs} | {v.name: v for node in nodes for v in node.outputs}
    for name in names:
        if name not in values:
            raise InputError(
                f"the graph computes no tensor {name!r}; its outputs are {[v.name for v in graph.outputs]}."
            )
    return [values[name] for name in names]


def _make_input(graph: ir.Graph, tensor: ir.Value) -> None:
    """Let an input take the place of an inner tensor everywhere but in the outputs, where it gets another name."""
    if tensor.is_graph_input():
        return
    value = ir.Value(name=tensor.name, shape=tensor.shape, type=tensor.type)
    tensor.name = f"{tensor.name}/computed"
    for use in list(tensor.uses()):
        use.node.replace_input_with(use.idx, value)
    graph.inputs.append(value)


def _zeros(emit: Emitter, variable: ir.Value) -> ir.Value:
    zeros = emit.zeros_like(variable)
    return emit.Cast(zeros, to=ir.DataType.FLOAT) if is_whole(variable) else zeros


def _refusal(node: ir.Node, opsets: Mapping[str, int]) -> UnsupportedOperatorError:
    operator = Operator(node, opsets, lambda value: False)
    advice = "rounding has the derivative zero; differentiate the model before it was quantised"
    return operator.refuse("straight_through", False, advice)


def _batch(graph: ir.Graph, score: ir.Value) -> int | ir.SymbolicDim:
    """The batch dimension of ``target``: the score's if it is fixed, else the first input's name."""
    assert score.shape is not None
    if isinstance(score.shape[0], int):
        return score.shape[0]
    for value in graph.inputs:
        if value.shape is not None and len(value.shape) > 0 and isinstance(value.shape[0], ir.SymbolicDim):
            return value.shape[0]
    return score.shape[0]


class _PublicNames:
    """Names of added inputs and outputs: as the contract says, with a suffix where one is taken."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        graph = model.graph
        self._public = {v.name for v in [*graph.inputs, *graph.outputs]}

    def fresh(self, name: str) -> str:
        chosen, count = name, 2
        while chosen in self._public:
            chosen, count = f"{name}_{count}", count + 1
        self._public.add(chosen)
        for value in _values(self._model.graph):
            if value.name == chosen:
                value.name = f"{chosen}/inner"
        if name in ("target", "cotangent"):
            self.record(name, chosen)
        return chosen

    def output(self, value: ir.Value, name: str, key: str) -> None:
        """Make ``value`` an output called ``name``, and record the name it got under ``key``."""
        chosen = self.fresh(name)
        graph = self._model.graph
        if value.producer() is None or value.is_graph_output():
            node = ir.node("Identity", [value], name=f"{chosen}/Identity")
            node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
            graph.append(node)
            value = node.outputs[0]
        value.name = chosen
        graph.outputs.append(value)
        self.record(key, chosen)

    def record(self, key: str, value: str) -> None:
        self._model.metadata_props[f"onnxplain.{key}"] = value


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]
