"""Let runtimes go on fusing ``DequantizeLinear -> operator -> QuantizeLinear`` into integer kernels.

They do so only if nothing else reads the floats in between, and their kernels round differently than the
floats do, so a gradient that reads them would change the model's own outputs. Here it reads copies of
them instead: x = s (q - z) written out as a product, which no runtime takes for a DequantizeLinear, and
the operator on that. Copies of weights are constants that runtimes compute when they load the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..emitter import Emitter
from ..operator import Operator
from ..quantized import MICROSOFT
from ..rules.quantization import dequantized

_ACTIVATIONS = {"Relu", "Clip"}
_WIDE_ENOUGH = (ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.INT32)


def keep_integer_kernels(emit: Emitter, forward: Sequence[ir.Node]) -> None:
    """Replace what the nodes that are not in ``forward`` read, in place."""
    inside = {v for node in forward for v in _inside(node)}
    if not inside:
        return
    own = {n for node in forward for n in [node, *_nested(node)]}
    copies: dict[ir.Value, ir.Value] = {}
    for node in [n for n in emit.graph.all_nodes() if n not in own]:
        for index, value in enumerate(node.inputs):
            if value is not None and (value in inside or _is_dequantized(value)):
                node.replace_input_with(index, _copy(emit, value, inside, copies))
    emit.graph.sort()


def _nested(node: ir.Node) -> list[ir.Node]:
    graphs = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    return [n for graph in graphs for n in graph.all_nodes()]


def _is_dequantized(value: ir.Value) -> bool:
    """Whether a value is an 8 bit tensor dequantised; copies of constants of 4 bits would grow too much."""
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.domain not in ("", MICROSOFT):
        return False
    return node.inputs[0] is not None and node.inputs[0].dtype in _WIDE_ENOUGH


def _inside(node: ir.Node) -> list[ir.Value]:
    """The floats between the DequantizeLinear nodes before an operator and the QuantizeLinear ``node`` after it."""
    x = node.inputs[0] if node.op_type == "QuantizeLinear" and node.domain in ("", MICROSOFT) else None
    if x is None or (producer := x.producer()) is None or not producer.outputs:
        return []
    chain = [x]
    before = producer.inputs[0] if producer.inputs else None
    if producer.op_type in _ACTIVATIONS and before is not None and not _is_dequantized(before):
        if (producer := before.producer()) is None:
            return []
        chain.append(before)
    sources = [v for v in producer.inputs if v is not None and v.const_value is None]
    whole = bool(sources) and all(_is_dequantized(v) for v in sources) and len(producer.outputs) == 1
    return chain if whole and not any(v.is_graph_output() for v in chain) else []


def _copy(emit: Emitter, value: ir.Value, inside: set[ir.Value], copies: dict[ir.Value, ir.Value]) -> ir.Value:
    if value not in copies:
        node = value.producer()
        assert node is not None
        with emit.scope(node.name or node.op_type):
            if _is_dequantized(value):
                copies[value] = dequantized(emit, Operator(node, emit.graph.opset_imports, lambda _: False))
            else:
                inputs = [
                    v if v is None or not (v in inside or _is_dequantized(v)) else _copy(emit, v, inside, copies)
                    for v in node.inputs
                ]
                copies[value] = emit.op(node.op_type, *inputs, outputs=1, domain=node.domain, **dict(node.attributes))[
                    0
                ]
    return copies[value]
