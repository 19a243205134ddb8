"""Half precision: float16 in the place of float32, from the inputs to the outputs, which stay float32.

y = f(x, w) becomes y = Cast32(f(Cast16(x), w16)). A node is converted where the standard has it for float16 and what
it reads depends on the model's inputs: sizes that are computed in floats stay exact. It stays in float32 where float16
has not the range: operators that square, multiply or add up what they read, nodes with constants whose largest
magnitude is beyond 65,504 (what masks attention) or below 2^-14, and what reads nothing but the results of such nodes,
up to the next product of matrices or convolution. Subgraphs, quantised integers and operators of other domains stay as
they are. Numbers have 11 significant bits afterwards, so signs of activations near zero may differ, and with them
where a gradient passes.

The gradient is scaled by 64 on its way through the graph, so that what is small there keeps its bits
(Micikevicius et al. 2017, "Mixed Precision Training", section 3.2), and scaled back in float32.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir

from ..graph.editing import put_out, reread, set_input
from ..graph.emitter import Emitter
from ..graph.passes import Step, fired, graph_pass, left
from ..reverse.reach import captured, depends_on, stand_ins

#: The factor by which gradients are larger inside of the graph.
GRADIENT_SCALE = 64.0

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_LARGEST, _SMALLEST = 65504.0, 2.0**-14
#: What leaves the range of float16 although its inputs are within.
_WIDE = {
    "CumProd", "CumSum", "Exp", "Pow", "Range", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd",
    "ReduceSum", "ReduceSumSquare", "LpNormalization", "MeanVarianceNormalization",
}  # fmt: skip
#: What is worth a conversion, whatever it reads.
_HEAVY = {"Attention", "Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"}


@graph_pass(needs="a prepared graph", ensures="float16 in the place of float32, between the inputs and the outputs")
def to_half_precision(emit: Emitter) -> Iterator[Step]:
    """Convert a prepared model (:func:`~.order.prepare`) in place; its inputs and outputs keep their types."""
    yield from _Conversion(emit).run()


def single(emit: Emitter, value: ir.Value) -> ir.Value:
    """``value`` in float32 if it is float16, else itself."""
    return emit.Cast(value, to=_FLOAT) if value.dtype == _HALF else value


class _Conversion:
    def __init__(self, emit: Emitter) -> None:
        self._emit, self._graph, self._opset = emit, emit.graph, emit.graph.opset_imports[""]
        self._twins: dict[ir.Value, ir.Value] = {}  # of a value the same one in the other precision
        self._wide: set[ir.Value] = set()  # what nodes compute that stayed in float32

    def run(self) -> Iterator[Step]:
        graph = self._graph
        nodes = list(graph)
        active = depends_on(nodes, [v for source in graph.inputs for v in stand_ins(nodes, source)])
        results = list(graph.outputs)
        for node in nodes:
            found = self._halves(node, active)
            halves = {} if isinstance(found, str) else found
            if isinstance(found, str):
                yield left(node, found)
            elif halves:
                yield fired(node)
            if not halves:
                self._wide.update(v for v in node.outputs if v in active)
            for index, value in enumerate(node.inputs):
                if value is not None and index in halves:
                    set_input(node, index, self._as(value, _HALF, node))
                elif value is not None and value in self._twins and value.dtype == _HALF:
                    set_input(node, index, self._as(value, _FLOAT, node))
            self._widen_captured(node)
            for index, output in enumerate(node.outputs):
                if halves and output.dtype == _FLOAT and self._variable(node, index, False) in halves.values():
                    output.type = ir.TensorType(_HALF)
                    self._twins.setdefault(output, output)
        for index, value in enumerate(results):
            if value.dtype == _HALF and value in self._twins:
                put_out(self._emit, index, self._emit.Cast(value, to=_FLOAT))

    def _halves(self, node: ir.Node, active: set[ir.Value]) -> dict[int, str] | str:
        """The inputs that become float16, each with the type variable of the standard that binds it.

        Or why a node that reads some stays in float32; no inputs where it reads none that the model computes.
        """
        floats = {i: v for i, v in enumerate(node.inputs) if v is not None and (v.dtype == _FLOAT or v in self._twins)}
        if not any(v in active for v in floats.values()):
            return {}
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, ""):
            return "the standard does not have it"
        if captured(node):
            return "its subgraphs read what is outside of them"
        if node.op_type in _WIDE:
            return "it may leave the range of float16"
        found = {i: variable for i in floats if (variable := self._variable(node, i, True)) is not None}
        computed = [floats[i] for i in found if floats[i] in active]
        if not computed:
            return "the standard does not have it for float16"
        if not all(_fits(floats[i]) for i in found):
            return "a constant is not in the range of float16"
        if node.op_type not in _HEAVY and all(v in self._wide for v in computed):
            return "it reads nothing but what stays in float32"
        return found

    def _variable(self, node: ir.Node, index: int, of_input: bool) -> str | None:
        """The type variable of an input or output; None if it has none that may be float16."""
        schema = onnx.defs.get_schema(node.op_type, self._opset, "")
        formal = schema.inputs if of_input else schema.outputs
        parameter = formal[min(index, len(formal) - 1)]
        is_variable = parameter.type_str in {constraint.type_param_str for constraint in schema.type_constraints}
        return parameter.type_str if is_variable and "tensor(float16)" in parameter.types else None

    def _as(self, value: ir.Value, dtype: ir.DataType, node: ir.Node) -> ir.Value:
        """``value`` in that precision, computed before ``node`` if it is not yet."""
        if value.dtype == dtype:
            return value
        twin = self._twins.get(value)
        if twin is None or twin is value:
            twin = self._twins[value] = self._converted(value, dtype, node)
        return twin

    def _converted(self, value: ir.Value, dtype: ir.DataType, node: ir.Node) -> ir.Value:
        if value.const_value is not None and value.is_initializer():
            return self._emit.constant(value.const_value.numpy(), dtype)
        with self._emit.before(node):
            return self._emit.Cast(value, to=dtype)

    def _widen_captured(self, node: ir.Node) -> None:
        """Let the subgraphs of ``node`` read in float32 what they captured."""
        converted = {v: self._as(v, _FLOAT, node) for v in captured(node) if v in self._twins and v.dtype == _HALF}
        for attribute in node.attributes.values():
            if converted and attribute.type == ir.AttributeType.GRAPH:
                reread(attribute.as_graph().all_nodes(), converted)


def _fits(value: ir.Value) -> bool:
    """Whether the largest magnitude of a constant is one of float16; anything that is computed may be."""
    if value.const_value is None or not value.is_initializer():
        return True
    array = np.abs(value.const_value.numpy())
    largest = float(array.max(initial=0.0))
    return largest == 0.0 or _SMALLEST <= largest <= _LARGEST
