"""Operators with subgraphs: If with constant and with data-dependent conditions, Loop, Scan."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, TensorProto, ValueInfoProto, helper, numpy_helper

from .builder import Builder, Value

FLOAT = TensorProto.FLOAT


def _branch(b: Builder, x: Value) -> GraphProto:
    """One or two nodes on the captured ``x``."""
    out, middle, name = b.fresh("branch"), b.fresh("branch"), b.fresh("const")
    factor = numpy_helper.from_array(np.array(b.random.choice([0.5, -1.0, 2.0]), dtype=np.float32), name)
    ways = [
        [helper.make_node("Mul", [x.name, name], [out])],
        [helper.make_node("Add", [x.name, name], [middle]), helper.make_node("Tanh", [middle], [out])],
        [helper.make_node("Sigmoid", [x.name], [middle]), helper.make_node("Mul", [middle, name], [out])],
        [helper.make_node("Mul", [x.name, x.name], [middle]), helper.make_node("Add", [middle, name], [out])],
    ]
    nodes = b.random.choice(ways)
    if b.chance(0.5) or b.opset < 9:  # the first whose initialisers need not be inputs, which branches do not have
        nodes = [helper.make_node("Constant", [], [name], value=factor), *nodes]
        factors = []
    else:
        factors = [factor]
    shape = None if b.chance(0.5) else [None] * x.rank
    return helper.make_graph(nodes, b.fresh("graph"), [], [helper.make_tensor_value_info(out, FLOAT, shape)], factors)


def conditional(b: Builder, x: Value) -> Value | None:
    """If with a condition that is constant, follows from a shape, or depends on the data."""
    way = b.random.choice(["constant", "rank", "data", "data"])
    if way == "constant":
        condition = b.constant(np.array(b.chance(0.5)))
    elif way == "rank" and x.rank:
        extent = b.squeeze(b.dim(x, b.random.randrange(x.rank)), 0)
        condition = b.raw("Equal", [extent, b.integer(b.random.choice([1, 3]))])[0]
    else:
        total = b.raw("ReduceSum", [x.name], keepdims=0)[0]
        if b.opset < 9:
            condition = b.raw("Greater", [total, b.number(0.0)])[0]
        else:
            condition = b.raw(b.random.choice(["Greater", "Less"]), [total, b.number(0.0)])[0]
    return b.op("If", [condition], x.shape, then_branch=_branch(b, x), else_branch=_branch(b, x))


def loop(b: Builder, x: Value) -> Value | None:
    """A few rounds of state = tanh(state * 0.8 + x), sometimes left early."""
    n, go, state, out, kept, scaled, total = (b.fresh("loop") for _ in range(7))
    factor = numpy_helper.from_array(np.array(0.8, dtype=np.float32), b.fresh("const"))
    nodes = [
        helper.make_node("Constant", [], [factor.name], value=factor),
        helper.make_node("Mul", [state, factor.name], [scaled]),
        helper.make_node("Add", [scaled, x.name], [total]),
        helper.make_node("Tanh", [total], [out]),
        helper.make_node("Identity", [go], [kept]),
    ]
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.INT64, []),
        helper.make_tensor_value_info(go, TensorProto.BOOL, []),
        helper.make_tensor_value_info(state, FLOAT, [None] * x.rank),
    ]
    outputs = [
        helper.make_tensor_value_info(kept, TensorProto.BOOL, []),
        helper.make_tensor_value_info(out, FLOAT, [None] * x.rank),
    ]
    body = helper.make_graph(nodes, b.fresh("graph"), inputs, outputs)
    start = b.pick(shape=x.shape) or x
    rounds = b.integer(b.random.choice([1, 2, 3]))
    return b.op("Loop", [rounds, b.constant(np.array(True)), start], x.shape, body=body)


def scan(b: Builder, x: Value) -> Value | None:
    """A running state over the steps of [N,T,D], scanned along the first or the second axis."""
    if x.rank != 3 or b.opset < 9:
        return None
    state, step, out, again, scaled = (b.fresh("scan") for _ in range(5))
    factor = numpy_helper.from_array(np.array(0.5, dtype=np.float32), b.fresh("const"))
    nodes = [
        helper.make_node("Mul", [state, factor.name], [scaled]),
        helper.make_node("Add", [scaled, step], [out]),
        helper.make_node("Tanh", [out], [again]),
    ]

    def info(name: str) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, FLOAT, [None, None])

    body = helper.make_graph(nodes, b.fresh("graph"), [info(state), info(step)], [info(out), info(again)], [factor])
    first = b.reduce("ReduceMean", x, [1], False)
    names = b.raw(
        "Scan", [first.name, x.name], 2, body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1]
    )
    last = b.add(names[0], first.shape, [first, x])
    every = b.add(names[1], x.shape, [x])
    return last if b.chance(0.3) else every


CONTROL_FLOW = {conditional: 3, loop: 1, scan: 1}
