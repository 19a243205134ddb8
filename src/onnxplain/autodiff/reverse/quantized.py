"""Quantised numbers: which tensors hold them, how wide their types are, and how they carry a derivative.

The straight-through estimator (Bengio, Léonard, Courville 2013) takes rounding for the identity: quantising
x to y = saturate(round(x / scale) + zero point) has the slope 1 / scale where nothing was saturated, 0
where it was. In between the numbers are integers, and the gradient of an integer tensor is that with
respect to its elements taken as real numbers: a float32 tensor of its shape.

An integer tensor carries a derivative from the operator that rounds on: through integer kernels, and
through whatever copies, moves or picks among its elements, for as long as the type stays the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from ..graph.bodies import bodies
from . import registry

if TYPE_CHECKING:
    from ..graph.emitter import Emitter
    from ..graph.operator import Operator

#: The domain of ONNX Runtime's own operators.
MICROSOFT = "com.microsoft"
#: Float types that hold a tensor's values as they are; narrower ones hold quantised numbers.
WIDE = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)

#: The smallest and largest number of each type, and how far beyond them a value is still rounded, not saturated.
_LIMITS: dict[str, tuple[float, float, float]] = {
    "UINT2": (0, 3, 0.5), "INT2": (-2, 1, 0.5), "UINT4": (0, 15, 0.5), "INT4": (-8, 7, 0.5),
    "UINT8": (0, 255, 0.5), "INT8": (-128, 127, 0.5), "UINT16": (0, 65535, 0.5), "INT16": (-32768, 32767, 0.5),
    "INT32": (-(2**31), 2**31 - 1, 0.5), "FLOAT8E4M3FN": (-448, 448, 16), "FLOAT8E4M3FNUZ": (-240, 240, 8),
    "FLOAT8E5M2": (-57344, 57344, 4096), "FLOAT8E5M2FNUZ": (-57344, 57344, 4096), "FLOAT4E2M1": (-6, 6, 1),
}  # fmt: skip


#: Integer kernels with an integer output: where the output's scale is among the inputs; the zero point follows.
_OUTPUT_SCALE = {
    "QLinearConv": 6, "QLinearMatMul": 6, "QLinearAdd": 6, "QLinearMul": 6, "QLinearAveragePool": 3,
    "QLinearGlobalAveragePool": 3, "QLinearLeakyRelu": 3, "QLinearSigmoid": 3, "QLinearSoftmax": 3,
    "QLinearConcat": 0, "QLinearWhere": 7, "QGemm": 7,
}  # fmt: skip


def limits(dtype: ir.DataType | None) -> tuple[float, float] | None:
    """Between which numbers a value is rounded to one of ``dtype``, not saturated: from the first (included) to
    the second. None for types that hold no quantised numbers."""
    found = None if dtype is None else _LIMITS.get(dtype.name)
    return None if found is None else (found[0] - found[2], found[1] + found[2])


def is_float(value: ir.Value) -> bool:
    """Return whether a value is a float of 16 bits or more, or of a type that inference left open."""
    return value.dtype is None or value.dtype in WIDE


def is_whole(value: ir.Value | None) -> bool:
    """Return whether a value is of a type that quantised numbers have."""
    return value is not None and limits(value.dtype) is not None


def carries(node: ir.Node, output: ir.Value, reached: set[ir.Value]) -> bool:
    """Return whether an integer output of ``node`` carries a derivative, if those of its inputs in ``reached`` do."""
    if not is_whole(output):
        return False
    found = registry.newest(node.domain, node.op_type)
    if found is not None and found.quantized:
        whole = any(is_whole(v) and v in reached for v in node.inputs)
        narrow = output.dtype is not None and output.dtype.is_floating_point()
        return output is node.outputs[0] and (found.rounds or whole or narrow)
    return any(v in reached and v.dtype == output.dtype for v in node.inputs if v is not None)


def is_kernel(node: ir.Node) -> bool:
    """Return whether a node computes with integers: not one that only makes floats of them."""
    found = registry.newest(node.domain, node.op_type)
    return found is not None and found.quantized and node.op_type not in ("Cast", "DequantizeLinear")


def output_parameters(node: ir.Node) -> tuple[ir.Value, ir.Value | None] | None:
    """Return the scale and zero point of an integer kernel's output; None if the node does not state them."""
    at = _OUTPUT_SCALE.get(node.op_type, len(node.inputs))
    scale = node.inputs[at] if at < len(node.inputs) else None
    return None if scale is None else (scale, node.inputs[at + 1] if at + 1 < len(node.inputs) else None)


def in_floats(emit: Emitter, node: Operator) -> list[ir.Value | None]:
    """Return the operator on float32 copies of the integers it copies, moves or picks among: an expansion."""
    if bodies(node.node):
        raise node.refuse("quantised integers", "into a subgraph", "dequantise them before it")
    kinds = _kinds(node)
    cast = {kinds[i] for i, v in enumerate(node.inputs) if is_whole(v) and node.wants(i)}
    inputs = [
        emit.Cast(v, to=ir.DataType.FLOAT) if v is not None and kinds[i] in cast else v
        for i, v in enumerate(node.inputs)
    ]
    return list(
        emit.op(node.op_type, *inputs, outputs=len(node.outputs), domain=node.node.domain, **dict(node.node.attributes))
    )


def _kinds(node: Operator) -> list[str]:
    """The type variable of every input, where the operator has a schema; else the type itself."""
    try:
        formal = onnx.defs.get_schema(node.op_type, node.opset, node.node.domain).inputs
    except onnx.defs.SchemaError:
        return [str(v.dtype) if v is not None else "" for v in node.inputs]
    return [formal[min(i, len(formal) - 1)].type_str for i in range(len(node.inputs))]
