"""Bring any model into the one form that the walk reads: passes before the walk, in order."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from ...errors import ModelError
from ..graph.checks import complaint
from ..graph.emitter import Emitter
from ..graph.inference import Inference
from ..graph.passes import Pass, Report, Runner, Work
from ..reverse.foreign import outputs_of
from .bind_gradients import bind_gradients
from .checkable_convolution import state_pads_of_transposed_convolutions
from .checkable_normalization import make_normalization_checkable
from .fix_dimensions import fix_dimensions
from .fold_constants import fold_constants
from .import_domains import import_domains
from .infer_shapes import know_shapes
from .initializers import lift_constants, lift_subgraph_initializers, take_initializers_off_inputs
from .inline_constant_if import inline_constant_if
from .inline_functions import inline_functions
from .lower_gradients import lower_gradients
from .name_everything import name_everything
from .stated_shapes import set_aside_stated_shapes
from .unpack_sequences import unpack_sequences
from .unroll import unroll
from .upgrade_opset import upgrade_opset
from .vector_operands import multiply_by_columns
from .whole_pads import pad_all_axes

#: From any file to names for everything, and to shapes that follow from those of the inputs.
NAMED: tuple[Pass[ir.Model], ...] = (
    name_everything,
    bind_gradients,
    take_initializers_off_inputs,
    inline_functions,
    import_domains,
    set_aside_stated_shapes,
)
#: From there to one opset and one form of constants.
READABLE: tuple[Pass[ir.Model], ...] = (
    upgrade_opset,
    make_normalization_checkable,
    lift_constants,
    state_pads_of_transposed_convolutions,
    lift_subgraph_initializers,
)
#: What is known folds, until nothing more is known; each starts again from the first once it has changed anything.
KNOWN: tuple[Pass[Work], ...] = (fold_constants, inline_constant_if, unpack_sequences)


def prepare(
    model: ir.Model, report: Report | None = None, static: Mapping[str, int] | None = None, *, unrolled: bool = False
) -> Inference:
    """Rewrite ``model`` in place; return the inference that names its dimensions. ``report`` is filled.

    ``static`` are extents of dimensions that inputs name; what follows from them becomes static, too. ``unrolled``:
    Loop and Scan of a known length are written out.

    Afterwards: every node and value has a name, no initialiser is listed among the inputs, no local
    function and no Gradient is left, the opset is 18 or newer, constants are initialisers, shapes and types are
    inferred as far as they can be. The values of the model's outputs are unchanged.

    Raises:
        ModelError: the model cannot be brought to the working opset.
        InputError: ``static`` names a dimension that the inputs do not have.
    """
    runner = Runner(model, "before", report)
    for one in (*NAMED, *([fix_dimensions(static)] if static else []), *READABLE):
        runner.run(one, model)
    emit = Emitter(model.graph, Inference(model.graph.opset_imports, outputs_of), under="prepare")
    work = Work(model, emit)
    _infer(work, runner, unrolled=unrolled)
    while runner.run(lower_gradients, work):
        _infer(work, runner, unrolled=unrolled)
    runner.run(pad_all_axes, work)
    return emit.inference


def _infer(work: Work, runner: Runner, *, unrolled: bool) -> None:
    """Infer shapes, and fold what they say."""
    runner.run(know_shapes, work)
    if runner.run(multiply_by_columns, work):
        runner.run(know_shapes, work)
    settle(work, runner, unrolled=unrolled)


def settle(work: Work, runner: Runner, *, unrolled: bool) -> None:
    """Fold what is known until nothing more is; ``unrolled``: Loop and Scan of a known length, too."""
    known = (*KNOWN, unroll) if unrolled else KNOWN
    while any(runner.run(one, work) for one in known):
        runner.run(know_shapes, work)


def make_static(work: Work, report: Report | None = None) -> Work:
    """Fold and unroll, in place, what was added to a model with fixed dimensions; return what is left to work on."""
    work.emit.graph.sort()
    runner = Runner(work.model, "after", report)
    runner.run(know_shapes, work)
    settle(work, runner, unrolled=True)
    return Work(work.model, work.emit, [node for node in work.forward if node.graph is work.model.graph])


def check(model: ir.Model, what: str) -> None:
    """Run ONNX's full checker on the graph; weights are not copied.

    Raises:
        ModelError: with the checker's first complaint.
    """
    error = complaint(model)
    if error is not None:
        raise ModelError(f"{what} does not pass the ONNX checker: {error}")
