"""Input gradients of depthwise convolutions with a stride: zeros put in between, then a convolution.

y[p] = sum over k of W[k] g[(p + h - k d) / s] = sum over k of W[K - 1 - k] z[p - ((K - 1) d - h) + k d]

where z[s q] = g[q] and z is 0 elsewhere: the transposed convolution with stride 1 of z, which is the convolution
with the flipped weight (see :mod:`.flip_convolutions`). The zeros come from a ConvTranspose with a single tap of
one, whose extent is (n - 1) s + 1, or, where the result is small, from Concat with zeros, whose extent is n s.

ONNX Runtime's CPU provider has a vectorised kernel for depthwise Conv; its ConvTranspose runs group by group.

Measured (see :mod:`.order`), with this pass and without: MobileNetV2 3.60 and 4.30, EfficientNet-Lite0 3.48
and 3.97.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from ..geometry.placement import dilate
from ..graph.passes import Step, Work, fired, graph_pass
from .rewriting import gradient_nodes, scope_of, substitute
from .transposed import Transposed, with_unit_stride

#: Below this extent of the result Concat puts the zeros in faster.
SMALL = 56


@graph_pass(
    needs="transposed convolutions", ensures="no depthwise transposed convolution with a stride, but for taps of one"
)
def depthwise_strides(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every depthwise ConvTranspose with a stride that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    for node in gradient_nodes(emit, forward, "ConvTranspose"):
        t = Transposed.read(node)
        if isinstance(t, str) or not t.depthwise or t.channels == 1 or max(t.strides) == 1:
            continue
        with emit.scope(scope_of(node)):
            if _is_small(node.outputs[0]):
                spread = t.grid
                for axis, stride in zip(t.spatial_axes, t.strides):
                    spread = dilate(emit, spread, axis, stride)
                new = with_unit_stride(emit, t, spread, beyond=[s - 1 for s in t.strides])
            else:
                one = emit.constant(np.ones((t.channels, 1, *[1] * len(t.kernel))), t.weight.dtype)
                spread = emit.ConvTranspose(t.grid, one, strides=t.strides, group=t.group)
                new = with_unit_stride(emit, t, spread)
        yield fired(node)
        substitute(emit, node, new)


def _is_small(result: ir.Value) -> bool:
    return result.shape is not None and all(isinstance(d, int) and d < SMALL for d in result.shape[2:])
