"""The passes on the gradient graph: those for every file, and between them those for the provider that will run it.

``portable`` has what every engine of ``docs/engines.md`` runs right, or refuses; ``openvino`` is that, in what OpenVINO
is fast at; ``cuda`` leaves the graph as the rules wrote it, because nothing was measured there. ``cpu`` is for a core
to itself, ``cpu_shared`` for a single sample whose operators are shared by all cores. Every pass keeps the public
inputs and outputs, uses standard operators only and changes a gradient by rounding at most.

The docstring of each pass states its gain: time of the gradient as a multiple of the plain forward, at batch 1 with
224x224 pixels, with all passes and with all but that one, by ``benchmarks/passes.py --ablation --cpu-time
--threads 1``: the median of three to five interleaved rounds of processor time on one thread (ONNX Runtime 1.32,
a Xeon with AVX-512). The machine was in use, so differences below 0.05 say nothing. Those of all networks but
VGG-16 are of two runs, where only the second had the pass :mod:`.gate_residuals`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InputError
from ..graph.passes import Pass, Report, Runner, Work
from .blocked_masks import blocked_masks
from .center_normalizations import center_normalizations
from .closed_scans import closed_scans
from .compare_maxima import compare_maxima
from .constant_axes import constant_axes
from .depthwise_strides import depthwise_strides
from .early_rows import early_rows
from .factor_products import factor_products
from .flip_convolutions import flip_convolutions
from .gate_residuals import gate_residuals
from .join_slices import join_slices
from .keep_integer_kernels import keep_integer_kernels
from .late_pads import late_pads
from .mask_pools import mask_pools
from .phase_convolutions import phase_convolutions
from .plain_normalizations import plain_normalizations
from .prune import prune
from .range_masks import range_masks
from .rewriting import remove_dead
from .select_rows import select_rows
from .separate_weights import separate_weights
from .split_convolutions import split_convolutions
from .stated_pads import stated_pads
from .subpixel_images import subpixel_images
from .transpose_in_float32 import transpose_in_float32
from .transpose_parts import transpose_parts
from .unpool_maxima import unpool_maxima
from .winograd_convolutions import winograd_convolutions, winograd_large_convolutions

_CPU: tuple[Pass[Work], ...] = (
    select_rows,
    late_pads,
    early_rows,
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
#: For engines that lack what the rules write, or run it wrongly.
_EVERYWHERE: tuple[Pass[Work], ...] = (
    stated_pads,
    compare_maxima,
    plain_normalizations,
    separate_weights,
    closed_scans,
    constant_axes,
)
#: In the order in which they run.
PASSES: dict[str, tuple[Pass[Work], ...]] = {
    "portable": _EVERYWHERE,
    "cpu": (*_CPU, winograd_convolutions, gate_residuals),
    "cpu_shared": (*_CPU, winograd_large_convolutions, gate_residuals),
    "cuda": (),
    "openvino": (*_EVERYWHERE, range_masks, flip_convolutions),
}


def passes_for(provider: str) -> tuple[Pass[Work], ...]:
    """Return the passes for a provider.

    Raises:
        InputError: there is no such provider.
    """
    if provider not in PASSES:
        raise InputError(f"provider must be one of {', '.join(map(repr, PASSES))}; found {provider!r}.")
    return PASSES[provider]


def finish(work: Work, passes: Sequence[Pass[Work]], report: Report | None = None) -> None:
    """Run everything that comes after the walk over what it added to ``work.forward``, in place.

    ``passes`` are those for a provider, between the ones for every file; ``report`` is filled.
    """
    runner = Runner(work.model, "after", report)
    runner.run(keep_integer_kernels, work)
    runner.run(prune, work.model)
    if passes:
        unordered = Runner(work.model, "after", report, ordered=False)
        changed = False
        for one in passes:
            nodes = len(work.emit.graph)
            if unordered.run(one, work) or len(work.emit.graph) != nodes:
                remove_dead(work.emit.graph, work.forward)
                changed = True
        if changed:
            work.emit.graph.sort()
            runner.run(prune, work.model)
    runner.run(transpose_in_float32, work)
