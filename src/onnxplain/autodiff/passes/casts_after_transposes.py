"""Transpose first, cast to float16 then: T(Cast(x)) = Cast(T(x)), for a cast works on each element alone.

ONNX Runtime (1.32 among others) crashes as it loads a model in which a matrix product reads a transposed cast to
float16: it exchanges the two itself, to fuse the transposition, and stumbles over what it has made.
"""

from __future__ import annotations

import onnx_ir as ir

_HALF = int(ir.DataType.FLOAT16)


def cast_after_transposes(model: ir.Model) -> None:
    """Exchange the two in place, in subgraphs too; a cast that others read stays beside."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Transpose" and node.domain in ("", "ai.onnx"):
            cast = None if node.inputs[0] is None else node.inputs[0].producer()
            if cast is not None and cast.op_type == "Cast" and cast.attributes.get_int("to", 0) == _HALF:
                _exchange(cast, node)


def _exchange(cast: ir.Node, transpose: ir.Node) -> None:
    x, result = cast.inputs[0], transpose.outputs[0]
    assert x is not None and x.dtype is not None and transpose.graph is not None
    after = ir.node("Cast", [result], {"to": _HALF}, name=f"{transpose.name}/cast")
    halved = after.outputs[0]
    ir.convenience.replace_all_uses_with(result, halved, replace_graph_outputs=True)
    after.replace_input_with(0, result)
    transpose.replace_input_with(0, x)
    transpose.graph.insert_after(transpose, after)
    halved.name, result.name = result.name, f"{result.name}/before_cast"
    halved.type, halved.shape = result.type, result.shape
    result.type = ir.TensorType(x.dtype)
