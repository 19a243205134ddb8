"""Input gradients of convolutions with stride 1 as convolutions: ConvTranspose(g, W) -> Conv(g, W').

y[p] = sum over k of W[k] g[p + h - k d] = sum over k of W[K - 1 - k] g[p - ((K - 1) d - h) + k d]

so W' is W with its taps in reverse and in and out exchanged within each group, the dilations stay, and the
pads are (K - 1) d less those of the transposed convolution; where that is negative (a kernel shorter than its
pads) g is cut instead. W' is written as Transpose and Slice of the same initialiser, which runtimes fold when
they load the model: the file does not grow.

ONNX Runtime's CPU provider has a blocked, vectorised kernel for Conv and none for ConvTranspose.

Measured (see :mod:`.order`), with this pass and without: EfficientNet-Lite0 3.48 and 5.21, MobileNetV2 3.60
and 5.37, ResNet-18 2.66 and 3.05, ResNet-50 2.54 and 3.17, VGG-16 2.26 and 2.84, SqueezeNet 4.73 and 5.04.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute
from .transposed import Transposed, with_unit_stride


@graph_pass(needs="transposed convolutions", ensures="no transposed convolution with stride 1")
def flip_convolutions(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every ConvTranspose with stride 1 that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    for node in gradient_nodes(emit, forward, "ConvTranspose"):
        t = Transposed.read(node)
        if isinstance(t, str):
            yield left(node, t)
        elif max(t.strides) > 1 and t.depthwise and max(t.kernel) == 1:
            continue  # puts zeros in between, see depthwise_strides.py
        elif max(t.strides) > 1:
            yield left(node, f"strides {list(t.strides)} and no form for them")
        else:
            with emit.scope(scope_of(node)):
                new = with_unit_stride(emit, t, t.grid)
            yield fired(node)
            substitute(emit, node, new)
