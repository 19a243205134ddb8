"""ONNX model in, the same model with gradients as outputs out: reverse-mode autodiff on the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from ..errors import InputError, ModelError
from ..layout import LayoutLike
from ..target import Target
from .describe import describe
from .forms.order import finish, passes_for
from .graph.collection import collection_waits
from .graph.editing import begin_at
from .graph.emitter import Emitter
from .graph.guard import guarded
from .graph.inference import advice_on_rank
from .graph.io import ModelSource, hand_out, read_model, write_model
from .graph.operator import Operator
from .graph.passes import Report, Runner, Work
from .photo.inside import EXTENTS, Photo, fit, image_input, take_photos
from .photo.recipe import Recipe
from .prepare.expand_attention import write_out_attention
from .prepare.half_precision import GRADIENT_SCALE, single, to_half_precision
from .prepare.order import make_static, prepare
from .public import PublicNames
from .request import Request
from .reverse.overrides import Overrides, Rules
from .reverse.quantized import is_whole
from .reverse.reach import Path, depends_on, rounding, stand_ins
from .reverse.walk import walk
from .targets.explained import explained
from .targets.influence import find_influence
from .targets.output import find_output
from .targets.question import Question, ask
from .targets.saliency_output import add_magnitude, add_saliency
from .targets.score import Scores, default_place

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .request import Options


def differentiate(
    model: ModelSource,
    target: Target | str | None = None,
    *,
    tensor: str | None = None,
    wrt: str | Sequence[str] | None = None,
    score: str = "logit",
    form: str = "portable",
    layout: LayoutLike | None = None,
    class_axis: int | None = None,
    saliency: bool = False,
    channel_axis: int | None = None,
    straight_through: bool = True,
    rules: Overrides | str | None = None,
    precision: str = "float32",
    static: Mapping[str, int] | None = None,
    with_preprocessing: Recipe | None = None,
    report: Report | None = None,
) -> onnx.ModelProto:
    """Return the model with the gradient of a class score as ordinary outputs.

    S_c near an image is linear with slope w = dS_c/dI (Simonyan, Vedaldi, Zisserman 2013, section 3);
    the result computes w for the class given at run time, by one backward pass with fixed weights.

    Args:
        model: path, bytes, ``onnx.ModelProto`` or ``onnx_ir.Model``; external data beside a path is found. Never
            modified. A ``Gradient`` of ai.onnx.preview.training in it is written out in standard operators.
        target: which number is explained. None is a class: the model gets the int64 input ``target`` [N], the class
            index of each sample, and the float output ``score`` [N]. Of a :class:`~onnxplain.Target` only the kinds of
            its fields count, since their values are inputs at run time: ``Target(at=0)`` adds ``position`` [N,1], a
            mask ``region`` [N,h,w], a Box ``box`` [N,4], ``versus`` the class ``contrast`` [N], ``like`` the vector
            ``reference`` [N,D], ``weights`` a ``cotangent``; "own" and "best" let the graph choose, and return the
            choice as output ``at``. ``"cotangent"`` adds the float input ``cotangent``, shaped like the output, and no
            score: a vector-Jacobian product.
        tensor: name of any float tensor of the graph; default the first float output that depends on
            a float input.
        wrt: names of inputs or inner tensors to differentiate with respect to; default every float
            input that reaches the score. For an integer input (uint8 pixels, token ids) the first
            float tensors computed from it stand in.
        score: ``"logit"`` looks through a final Softmax, LogSoftmax or Sigmoid and takes the tensor
            before it, also where a softmax is written out in simpler operators; ``"probability"`` keeps it.
        layout: what the axes and rows of the outputs mean, a name or a dict (see :mod:`onnxplain.layout`); default
            what the model's metadata state.
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
            ``"cpu_shared"`` in those for one sample at a time on several cores; ``"portable"`` in those that the
            engines of ``docs/engines.md`` run right; ``"openvino"`` in those that are fastest in OpenVINO; ``"cuda"``
            leaves it as the rules write it. All agree to float32 rounding in ONNX Runtime.
        precision: ``"float16"`` computes in half precision what the model computes in float32, for GPUs: inputs,
            outputs and gradients stay float32, and their values change, by what ``benchmarks/RESULTS.md`` states for
            some networks. Gradients are scaled on their way, so that small ones are not lost.
        static: extents of open dimensions of the inputs, by their names: ``{"N": 1, "H": 224}``. What follows from
            them is folded into constants, Loop and Scan of a length that is known then are written out.
        with_preprocessing: an :class:`onnxplain.Preprocessing` that becomes part of the graph: the input ``photo``,
            uint8 [N,H,W,3] of any size, takes the place of the model's image input, and ``saliency_photo`` [N,H,W] is
            the map in the photo's pixels. ``box`` inputs are in the photo's pixels, too.
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
            an unknown operator, or there is no such ``form`` or ``precision``, or ``static`` names a dimension that
            the inputs do not have.
        PreprocessingError: ``with_preprocessing`` does not fit the model.
    """
    graph_model = read_model(model)
    request = Request.of(
        target,
        tensor=tensor,
        wrt=wrt,
        score=score,
        form=form,
        layout=layout,
        class_axis=class_axis,
        saliency=saliency,
        channel_axis=channel_axis,
        straight_through=straight_through,
        rules=rules,
        precision=precision,
        static=static,
        with_preprocessing=with_preprocessing,
    )
    add_gradients(graph_model, request, report)
    return write_model(graph_model)


def differentiate_ir(model: ModelSource, target: Target | str | None = None, **options: Unpack[Options]) -> ir.Model:
    """:func:`differentiate`, with the result as an ``onnx_ir.Model``: for further passes, and without copying weights.

    Weights that the model keeps in files are read when they are needed.

    Raises:
        ModelError, UnsupportedOperatorError, InputError: as for :func:`differentiate`.
    """
    graph_model = read_model(model)
    report = options.pop("report", None)
    add_gradients(graph_model, Request.of(target, **options), report)
    return hand_out(graph_model)


@collection_waits()
@guarded()
def add_gradients(model: ir.Model, request: Request, report: Report | None = None) -> Scores | None:
    """:func:`differentiate` for a model that :func:`~.graph.io.read_model` read, in place.

    Returns:
        What is explained; None for a cotangent, which explains nothing in particular.
    """
    rules = Rules(request.rules)
    emit = _prepared(model, request, rules, report)
    forward, own, public = list(model.graph), list(model.graph.inputs), PublicNames(model, emit)
    scores, question = _asked(emit, model, request, public)
    value, start = _scaled(emit, question, request)
    nodes = list(model.graph)
    path = Path(nodes, _variables(own, model.graph, nodes, request.wrt, value) if request.gradients else (), value)
    _count_rounding(path, request, model, public)
    if scores is not None and (node := find_influence(model.graph, scores.value, scores.batch)) is not None:
        public.record("influence", f"{node.op_type} node {node.name!r}")
    gradients = walk(emit, nodes, {value: start}, path.sources, model.opset_imports, rules)
    if question.start.is_graph_input() and value.shape is None:
        raise ModelError(f"the rank of {value.name!r} is unknown; {advice_on_rank(value)}.")
    if request.rules:
        public.record("replaced_rules", str(rules.applied))
    photo = None
    if request.with_preprocessing is not None:
        boxes = [v for v in model.graph.inputs if v.name in (public.named("box"), public.named("contrast_box"))]
        image = image_input(own, request.channel_axis)
        photo = take_photos(emit, public.input, request.with_preprocessing, image, request.static, boxes)
        forward = [*photo.nodes, *forward]
    _publish(emit, path, gradients, request, public, photo)
    work = Work(model, emit, forward)
    finish(make_static(work, report) if request.static else work, passes_for(request.form), report)
    describe(model, request, photo)
    return scores


def _prepared(model: ir.Model, request: Request, rules: Rules, report: Report | None) -> Emitter:
    """Bring the model into the form that the walk reads; returns an emitter for its graph."""
    static = dict(request.static)
    if request.with_preprocessing is not None:
        made = fit(model.graph, request.with_preprocessing, request.channel_axis, static)
        static = made | {name: extent for name, extent in static.items() if name not in EXTENTS}
    inference = prepare(model, report, static, unrolled=bool(request.static))
    runner, emit = Runner(model, "before", report), Emitter(model.graph, inference)
    if request.written_out:
        runner.run(write_out_attention, emit)
    for value in _named(model.graph, list(model.graph), request.cut):
        begin_at(emit, value)
    if request.half:
        runner.run(to_half_precision, Emitter(model.graph, inference, under="prepare"))
    rules.check(model.graph.all_nodes())
    return emit


def _asked(emit: Emitter, model: ir.Model, request: Request, public: PublicNames) -> tuple[Scores | None, Question]:
    """The question as a part of the graph, its score and what it chose as outputs."""
    kind = request.target
    if kind == "cotangent":
        output = find_output(model.graph, request.tensor, gradients=request.gradients).in_floats(emit)
        value = single(emit, output) if request.half else output
        assert value.dtype is not None
        start = public.input("cotangent", value.dtype, value.shape)
        public.record("score_tensor", output.name or "")
        return None, Question(value, start, value, value, None, None)
    scores = explained(
        emit,
        model,
        tensor=request.tensor,
        layout=request.layout_of(model.metadata_props),
        score=request.score,
        class_axis=request.class_axis,
        gradients=request.gradients,
    )
    if request.half:
        scores = replace(scores, value=single(emit, scores.value))
    if kind.form == "class" and kind.place is None:
        kind = replace(kind, place="region" if request.predict and scores.places else default_place(scores))
    with emit.scope("score"):
        question = ask(emit, scores, kind, public.input, predict=request.predict, blank=scores.blank)
    public.output(question.score, "score", "score")
    if question.at is not None:
        public.output(question.at, "at", "at")
    if request.predict:
        _publish_scores(emit, scores, question, public)
    public.record("score_tensor", scores.tensor)
    for key, known in (("probability", scores.probability), ("class_axis", scores.output_axis)):
        if known is not None:
            public.record(key, str(known))
    return scores, question


def _publish_scores(emit: Emitter, scores: Scores, question: Question, public: PublicNames) -> None:
    """The scores of all classes, and of all places, as outputs: what a caller chooses by."""
    public.output(_wide(emit, question.class_scores), "class_scores", "class_scores")
    if scores.places:
        public.output(_wide(emit, scores.value), "scores", "scores")
    if scores.boxes is not None and scores.confidence is not None:
        public.output(_wide(emit, scores.boxes), "boxes", "boxes")
        public.output(_wide(emit, scores.confidence), "confidence", "confidence")


def _wide(emit: Emitter, value: ir.Value) -> ir.Value:
    """A copy of ``value``, in float32 if it has 16 bits."""
    half = value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    return emit.Cast(value, to=ir.DataType.FLOAT) if half else emit.Identity(value)


def _scaled(emit: Emitter, question: Question, request: Request) -> tuple[ir.Value, ir.Value]:
    """Where the walk starts, and the cotangent there."""
    start = emit.Mul(question.start, GRADIENT_SCALE) if request.half else question.start
    return question.value, start


def _count_rounding(path: Path, request: Request, model: ir.Model, public: PublicNames) -> None:
    """Record how many nodes of the path round; refuse them where their derivative is to be the true one, zero."""
    crossed = rounding(path)
    if not crossed:
        return
    if not request.straight_through:
        operator = Operator(crossed[0], model.opset_imports, lambda value: False)
        advice = "rounding has the derivative zero; differentiate the model before it was quantised"
        raise operator.refuse("straight_through", False, advice)
    public.record("straight_through", str(len(crossed)))


def _publish(
    emit: Emitter,
    path: Path,
    gradients: Mapping[ir.Value, ir.Value],
    request: Request,
    public: PublicNames,
    photo: Photo | None,
) -> None:
    """The gradients, maps and values that were asked for, as outputs."""
    for source in path.sources:
        variable = source if photo is None or source is not photo.before else photo.tensor
        with emit.scope(f"{variable.name}"):
            gradient = gradients.get(source)
            gradient = _zeros(emit, variable) if gradient is None else gradient
            if request.half:
                gradient = emit.Mul(single(emit, gradient), 1 / GRADIENT_SCALE)
            if photo is not None and photo.stands_for(variable):
                add_saliency(emit, public.output, variable, gradient, request.channel_axis, photo)
            elif request.saliency and variable.is_graph_input():
                add_saliency(emit, public.output, variable, gradient, request.channel_axis)
            gradient = public.output(gradient, f"grad_{variable.name}", f"grad.{variable.name}")
            if request.magnitudes:
                add_magnitude(emit, public.output, variable, gradient)
    for value in _named(emit.graph, path.nodes, request.values):
        name = value.name or ""
        public.output(emit.Identity(single(emit, value) if request.half else value), f"value_{name}", f"value.{name}")


def _variables(
    own: Sequence[ir.Value], graph: ir.Graph, nodes: Sequence[ir.Node], wrt: Sequence[str] | None, score: ir.Value
) -> list[ir.Value]:
    """What is differentiated: the values named, or the model's ``own`` inputs that lead to the score by floats."""
    if wrt is None:
        sources = Path.from_inputs(graph, score, own).sources
        found = [v for v in dict.fromkeys(sources) if score in depends_on(nodes, [v])]
        if found:
            return found
        raise ModelError(
            f"no float path leads from an input to the score tensor {score.name!r}: it has no gradient. "
            "Name another tensor with tensor=."
        )
    values = {v.name: v for v in graph.inputs} | {v.name: v for node in nodes for v in node.outputs}
    values |= {name: v for name, v in graph.initializers.items() if name not in values}
    found = []
    for name in wrt:
        if name not in values:
            inputs = ", ".join(repr(v.name) for v in graph.inputs)
            raise InputError(f"wrt names {name!r}, which is not in the graph; the model's inputs are {inputs}.")
        value = values[name]
        usable = stand_ins(nodes, value)
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


def _zeros(emit: Emitter, variable: ir.Value) -> ir.Value:
    zeros = emit.zeros_like(variable)
    return emit.Cast(zeros, to=ir.DataType.FLOAT) if is_whole(variable) else zeros
