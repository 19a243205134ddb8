"""The passes on the gradient graph, chosen by the execution provider that will run it.

``portable`` leaves the graph as the rules wrote it, the form that every runtime is expected to run well;
``cuda`` is the same, because nothing was measured there. ``cpu`` is for a core to itself, ``cpu_shared`` for a single
sample whose operators are shared by all cores. Every pass keeps the public inputs and outputs,
uses standard operators only and changes a gradient by rounding at most.

The docstring of each pass states its gain: time of the gradient as a multiple of the plain forward, at batch 1 with
224x224 pixels, with all passes and with all but that one, by ``benchmarks/passes.py --ablation --cpu-time
--threads 1``: the median of three to five interleaved rounds of processor time on one thread (ONNX Runtime 1.32,
a Xeon with AVX-512). The machine was in use, so differences below 0.05 say nothing. Those of all networks but
VGG-16 are of two runs, where only the second had the pass :mod:`.gate_residuals`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from ...errors import InputError
from ..graph.emitter import Emitter
from .blocked_masks import blocked_masks
from .center_normalizations import center_normalizations
from .depthwise_strides import depthwise_strides
from .factor_products import factor_products
from .flip_convolutions import flip_convolutions
from .gate_residuals import gate_residuals
from .join_slices import join_slices
from .mask_pools import mask_pools
from .phase_convolutions import phase_convolutions
from .report import Report
from .rewriting import remove_dead
from .select_rows import select_rows
from .split_convolutions import split_convolutions
from .subpixel_images import subpixel_images
from .transpose_parts import transpose_parts
from .unpool_maxima import unpool_maxima
from .winograd_convolutions import winograd_convolutions, winograd_large_convolutions

#: A pass rewrites what is not in the forward nodes, in place, and says what it did.
Pass = Callable[[Emitter, Sequence[ir.Node], Report], None]

_CPU: tuple[Pass, ...] = (
    select_rows,
    subpixel_images,
    depthwise_strides,
    phase_convolutions,
    flip_convolutions,
    split_convolutions,
    mask_pools,
    blocked_masks,
    unpool_maxima,
    center_normalizations,
    factor_products,
    join_slices,
    transpose_parts,
)
#: In the order in which they run.
PASSES: dict[str, tuple[Pass, ...]] = {
    "portable": (),
    "cpu": (*_CPU, winograd_convolutions, gate_residuals),
    "cpu_shared": (*_CPU, winograd_large_convolutions, gate_residuals),
    "cuda": (),
}


def passes_for(provider: str) -> tuple[Pass, ...]:
    """The passes for a provider.

    Raises:
        InputError: there is no such provider.
    """
    if provider not in PASSES:
        raise InputError(f"provider must be one of {', '.join(map(repr, PASSES))}; found {provider!r}.")
    return PASSES[provider]


def rewrite_for_provider(
    emit: Emitter, forward: Sequence[ir.Node], passes: Sequence[Pass], report: Report | None = None
) -> None:
    """Run ``passes`` over what was added to the ``forward`` nodes, in place; ``report`` is filled."""
    report = Report() if report is None else report
    for rewrite in passes:
        rewrite(emit, forward, report)
        remove_dead(emit.graph, forward)
    if any(outcome.reason is None for outcome in report.outcomes):
        emit.graph.sort()
