"""Transpose on the float32 side of a cast: T(Cast16(x)) = Cast16(T(x)) and Cast32(T(x)) = T(Cast32(x)).

A cast works on each element alone, so both are the same to the bit. ONNX Runtime (1.24 to 1.32 on x86,
https://github.com/microsoft/onnxruntime/issues/28392) crashes as it loads a model in which a matrix product reads the
left-hand forms: it exchanges the two itself, to fuse the transposition, and stumbles over what it has made.
"""

from __future__ import annotations

import onnx_ir as ir

_HALF, _FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT


def transpose_in_float32(model: ir.Model) -> None:
    """Exchange the two in place, in subgraphs too; the first of them stays beside if others read it."""
    for node in list(model.graph.all_nodes()):
        x = node.inputs[0] if node.inputs else None
        before = None if x is None else x.producer()
        if before is None:
            continue
        if _transposes(node) and _casts(before, _HALF):
            _exchange(before, node)
        elif _casts(node, _FLOAT) and _transposes(before) and before.inputs[0] is not None:
            reads = {use.node.op_type for use in node.outputs[0].uses()}
            if before.inputs[0].dtype == _HALF and "MatMul" in reads:
                _exchange(before, node)


def _transposes(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and node.domain in ("", "ai.onnx")


def _casts(node: ir.Node, dtype: ir.DataType) -> bool:
    return node.op_type == "Cast" and node.attributes.get_int("to", 0) == dtype


def _exchange(first: ir.Node, second: ir.Node) -> None:
    """second(first(x)) becomes first'(second(x)), with a copy of ``first`` behind ``second``."""
    x, between = first.inputs[0], second.outputs[0]
    assert x is not None and x.dtype is not None and second.graph is not None
    after = ir.node(first.op_type, [between], first.attributes, name=f"{second.name}/{first.op_type}")
    result = after.outputs[0]
    ir.convenience.replace_all_uses_with(between, result, replace_graph_outputs=True)
    after.replace_input_with(0, between)
    second.replace_input_with(0, x)
    second.graph.insert_after(second, after)
    result.name, between.name = between.name, f"{between.name}/{second.op_type}"
    result.type, result.shape = between.type, between.shape
    if second.op_type == "Transpose":
        between.type = ir.TensorType(x.dtype)
    else:
        between.shape = x.shape
