"""Statistics of layer normalisations in plain operators, for engines that have the first output only.

    y, m, r = LayerNormalization(x, s, b)  ->  m = mean x, c = x - m, r = 1 / √(mean c² + ε), y = c r s + b

over the axes from ``axis`` on: what the operator computes, by its own definition; the rules write it with s = 1 and
without b. OpenCV, IREE, TensorRT and OpenVINO as a provider of ONNX Runtime have no second and third output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from ..graph.inference import made_by
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute_outputs


@graph_pass(
    needs="layer normalisations in float32 or wider",
    ensures="no layer normalisation of the gradient has more than one output",
)
def plain_normalizations(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every LayerNormalization with statistics that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    for node in gradient_nodes(emit, forward, "LayerNormalization"):
        x, scale, bias = (*node.inputs, None, None)[:3]
        if not any(any(value.uses()) for value in node.outputs[1:]):
            continue
        if x is None or x.shape is None or x.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
            yield left(node, "its input has no known rank, or fewer bits than float32")
            continue
        axes = list(range(node.attributes.get_int("axis", -1) % len(x.shape), len(x.shape)))
        with emit.scope(scope_of(node)):
            mean = emit.ReduceMean(x, axes, keepdims=1)
            centred = emit.Sub(x, mean)
            variance = emit.ReduceMean(emit.Mul(centred, centred), axes, keepdims=1)
            r = emit.Reciprocal(emit.Sqrt(emit.Add(variance, node.attributes.get_float("epsilon", 1e-5))))
            y = emit.Mul(centred, r)
            y = y if _is_ones(scale) else emit.Mul(y, scale)
            y = y if bias is None else emit.Add(y, bias)
        yield fired(node)
        substitute_outputs(emit, node, [y, mean, r])


def _is_ones(scale: ir.Value | None) -> bool:
    made = made_by(scale, "ConstantOfShape")
    value = None if made is None else made.attributes.get("value")
    return value is not None and bool(np.all(value.as_tensor().numpy() == 1))
