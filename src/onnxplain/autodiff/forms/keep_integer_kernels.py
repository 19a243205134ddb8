"""Let runtimes go on fusing ``DequantizeLinear -> operator -> QuantizeLinear`` into integer kernels.

They do so only if nothing else reads the floats in between, and their kernels round differently than the
floats do, so a gradient that reads them would change the model's own outputs. Here it reads copies of
them instead: x = s (q - z) written out as a product, which no runtime takes for a DequantizeLinear, and
the operator on that. Copies of weights are constants that runtimes compute when they load the model.

Signed numbers that QuantizeLinear makes are not read either: ONNX Runtime turns them into unsigned ones on
some processors if nothing but one DequantizeLinear reads them. Their copy is made of a copy of x, as unsigned
numbers, so that it is not taken for the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from ..geometry.scales import dequantized, quantized
from ..graph.bodies import bodies
from ..graph.editing import reread
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..graph.passes import Step, Work, fired, graph_pass
from ..reverse.quantized import MICROSOFT

_ACTIVATIONS = {"Relu", "Clip"}


@graph_pass(needs="the model's own nodes as they are", ensures="gradients read copies of what integer kernels compute")
def keep_integer_kernels(work: Work) -> Iterator[Step]:
    """Replace what the nodes that are not in ``forward`` read, in place."""
    emit, forward = work.emit, work.forward
    inside = {v for node in forward for v in _inside(node)}
    own = {n for node in forward for n in [node, *_nested(node)]}
    readers = [n for n in emit.graph.all_nodes() if n not in own]
    needed = {v for n in readers for v in n.inputs if v is not None and (v in inside or _is_read_dequantized(v, own))}
    if not needed:
        return
    for node in reversed(forward):
        if any(v in needed for v in node.outputs):
            needed.update(v for v in _sources(node) if v in inside or _is_dequantized(v))
    copies: dict[ir.Value, ir.Value] = {}
    for node in forward:
        if any(v in needed for v in node.outputs):
            with emit.scope(node.name or node.op_type):
                copies[node.outputs[0]] = _copy(emit, node, copies)
            yield fired(node)
    reread(readers, copies)
    emit.graph.sort()


def _nested(node: ir.Node) -> list[ir.Node]:
    return [n for body in bodies(node) for n in body.all_nodes()]


def _is_dequantized(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "DequantizeLinear" and node.domain in ("", MICROSOFT)


def _is_read_dequantized(value: ir.Value, own: set[ir.Node]) -> bool:
    """Whether the model itself reads the floats: those that were made for the gradient are in no kernel's way."""
    return _is_dequantized(value) and (value.is_graph_output() or any(use.node in own for use in value.uses()))


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


def _rounded(node: ir.Node) -> ir.Node | None:
    """The QuantizeLinear before a DequantizeLinear of signed numbers of 8 bits."""
    q = node.inputs[0] if node.op_type == "DequantizeLinear" else None
    before = None if q is None or q.dtype != ir.DataType.INT8 else q.producer()
    return before if before is not None and before.op_type == "QuantizeLinear" else None


def _sources(node: ir.Node) -> list[ir.Value]:
    """What the copy of a node reads."""
    before = _rounded(node)
    return [v for v in (node if before is None else before).inputs if v is not None]


def _copy(emit: Emitter, node: ir.Node, copies: Mapping[ir.Value, ir.Value]) -> ir.Value:
    if not _is_dequantized(node.outputs[0]):
        inputs = [v if v is None else copies.get(v, v) for v in node.inputs]
        return emit.op(node.op_type, *inputs, outputs=1, domain=node.domain, **dict(node.attributes))[0]
    operator, before = (
        None if n is None else Operator(n, emit.graph.opset_imports, lambda _: False) for n in (node, _rounded(node))
    )
    assert operator is not None
    if before is None:
        return dequantized(emit, operator)
    x = before.input(0)
    return dequantized(emit, operator, quantized(emit, before, copies.get(x, x)))
