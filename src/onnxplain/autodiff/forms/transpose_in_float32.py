"""Transpose on the float32 side of a cast: T(Cast16(x)) = Cast16(T(x)) and Cast32(T(x)) = T(Cast32(x)).

A cast works on each element alone, so both are the same to the bit. ONNX Runtime (1.24 to 1.32 on x86,
https://github.com/microsoft/onnxruntime/issues/28392) crashes as it loads a model in which a matrix product reads the
left-hand forms: it exchanges the two itself, to fuse the transposition, and stumbles over what it has made.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.editing import replace
from ..graph.emitter import Emitter
from ..graph.passes import Step, Work, fired, graph_pass

_HALF, _FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT


@graph_pass(needs="inferred types", ensures="no transposition of what was cast to float16 from float32")
def transpose_in_float32(work: Work) -> Iterator[Step]:
    """Exchange the two in place, in subgraphs too; the first of them stays beside if others read it."""
    emit = work.emit
    for node in list(emit.graph.all_nodes()):
        x = node.inputs[0] if node.inputs else None
        before = None if x is None else x.producer()
        if before is None:
            continue
        if _transposes(node) and _casts(before, _HALF):
            yield fired(node)
            _exchange(emit, before, node)
        elif _casts(node, _FLOAT) and _transposes(before) and before.inputs[0] is not None:
            reads = {use.node.op_type for use in node.outputs[0].uses()}
            if before.inputs[0].dtype == _HALF and "MatMul" in reads:
                yield fired(node)
                _exchange(emit, before, node)


def _transposes(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and node.domain in ("", "ai.onnx")


def _casts(node: ir.Node, dtype: ir.DataType) -> bool:
    return node.op_type == "Cast" and node.attributes.get_int("to", 0) == dtype


def _exchange(emit: Emitter, first: ir.Node, second: ir.Node) -> None:
    """Replace second(first(x)) by first(second(x))."""
    x = first.inputs[0]
    assert x is not None and second.graph is not None
    with emit.before(second):
        between = _copy(emit, second, x)
        replace(emit, second.outputs[0], _copy(emit, first, between))
    second.graph.remove(second, safe=True)


def _copy(emit: Emitter, node: ir.Node, x: ir.Value) -> ir.Value:
    return emit.op(node.op_type, x, outputs=1, domain=node.domain, **dict(node.attributes))[0]
