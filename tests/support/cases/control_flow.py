"""Cases of If, Loop and Scan."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from .base import Case, normal, positive, uniform

FLOAT = TensorProto.FLOAT


def graph(
    nodes: list[onnx.NodeProto],
    inputs: list[str],
    outputs: list[str],
    ints: tuple[str, ...] = (),
    bools: tuple[str, ...] = (),
) -> onnx.GraphProto:
    """A body whose values have ranks nobody states; ``ints`` and ``bools`` are scalars of those types."""

    def info(name: str) -> onnx.ValueInfoProto:
        kind = TensorProto.INT64 if name in ints else TensorProto.BOOL if name in bools else FLOAT
        return helper.make_tensor_value_info(name, kind, [] if name in (*ints, *bools) else None)

    return helper.make_graph(nodes, "body", [info(n) for n in inputs], [info(n) for n in outputs])


def node(op: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


SQUARE = graph([node("Mul", "a a", "t")], [], ["t"])
PRODUCT = graph([node("Mul", "a b", "u")], [], ["u"])
TWO = graph([node("Mul", "a b", "s"), node("Add", "s a", "t")], [], ["s", "t"])
TWICE = graph([node("Mul", "a a", "p"), node("Identity", "p", "q")], [], ["p", "q"])
NESTED = graph(
    [
        node("Neg", "a", "n"),
        helper.make_node(
            "If",
            ["flag"],
            ["v"],
            then_branch=graph([node("Mul", "n a", "w")], [], ["w"]),
            else_branch=graph([node("Exp", "n", "z")], [], ["z"]),
        ),
    ],
    [],
    ["v"],
)
YES, NO = np.array(True), np.array(False)
AB = {"a": normal("N", 3), "b": normal("N", 3)}

CUMULATE = graph(
    [node("Mul", "state x", "m"), node("Add", "m x", "next"), node("Tanh", "next", "y")],
    ["state", "x"],
    ["next", "y"],
)
WEIGHTED = graph(
    [node("Mul", "x a", "xa"), node("Add", "state xa", "next"), node("Mul", "next next", "y")],
    ["state", "x"],
    ["next", "y"],
)
STATELESS = graph([node("Mul", "x x", "y")], ["x"], ["y"])
PASSED = graph(
    [node("Identity", "first", "first_out"), node("Mul", "second first", "second_out")],
    ["first", "second", "x"],
    ["first_out", "second_out"],
)


def cumulate(s: torch.Tensor, xs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ys = []
    for x in xs:
        s = s * x + x
        ys.append(torch.tanh(s))
    return s, torch.stack(ys)


POWERS = graph(
    [
        node("Identity", "cond", "cond_out"),
        node("Mul", "v a", "v_out"),
        node("CastLike", "i v", "f"),
        node("Add", "v_out f", "row"),
    ],
    ["i", "cond", "v"],
    ["cond_out", "v_out", "row"],
    ints=("i",),
    bools=("cond", "cond_out"),
)
COUNTED = graph(
    [
        node("Less", "i limit", "cond_out"),
        node("Mul", "v v", "v_out"),
    ],
    ["i", "cond", "v"],
    ["cond_out", "v_out"],
    ints=("i",),
    bools=("cond", "cond_out"),
)
COUNTED.initializer.append(onnx.numpy_helper.from_array(np.array(1), "limit"))


def powers(v: torch.Tensor, a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    rows = []
    for i in range(4):
        v = v * a
        rows.append(v + i)
    return v, torch.stack(rows)


REFUSES = "the reference evaluator refuses axes and directions of Scan"

CASES = [
    Case("If", (YES,), {"then_branch": SQUARE, "else_branch": PRODUCT}, "then", runtime=(0,), captures=AB,
         torch=lambda a, b: a * a + 0 * b),
    Case("If", (NO,), {"then_branch": SQUARE, "else_branch": PRODUCT}, "else", runtime=(0,), captures=AB,
         torch=lambda a, b: a * b),
    Case("If", (NO,), {"then_branch": SQUARE, "else_branch": PRODUCT}, "constant-condition", captures=AB,
         torch=lambda a, b: a * b),
    Case("If", (YES,), {"then_branch": TWO, "else_branch": TWICE}, "second-output", outputs=2, output=1,
         runtime=(0,), captures=AB, torch=lambda a, b: a * b + a),
    Case("If", (YES,), {"then_branch": PRODUCT, "else_branch": SQUARE}, "broadcast", runtime=(0,),
         captures={"a": normal("N", 3), "b": normal(1, 3)}, torch=lambda a, b: a * b),
    Case("Scan", (normal("N", 2), normal(4, "N", 2)), {"num_scan_inputs": 1, "body": CUMULATE}, "states",
         outputs=2, output=0, torch=lambda s, x: cumulate(s, x)[0]),
    Case("Scan", (normal("N", 2), normal(4, "N", 2)), {"num_scan_inputs": 1, "body": CUMULATE}, "outputs",
         outputs=2, output=1, torch=lambda s, x: cumulate(s, x)[1]),
    Case("Scan", (normal("N", 2), normal("N", 4, 2)),
         {"num_scan_inputs": 1, "body": CUMULATE, "scan_input_axes": [1], "scan_output_axes": [-1]}, "axes",
         outputs=2, output=1, reference=False, note=REFUSES,
         torch=lambda s, x: torch.movedim(cumulate(s, torch.movedim(x, 1, 0))[1], 0, -1)),
    Case("Scan", (uniform("N", 2), uniform(4, "N", 2)),
         {"num_scan_inputs": 1, "body": CUMULATE, "scan_input_directions": [1]}, "reversed-input",
         outputs=2, output=1, reference=False, note=REFUSES, torch=lambda s, x: cumulate(s, x.flip(0))[1]),
    Case("Scan", (normal("N", 2), normal(4, "N", 2)),
         {"num_scan_inputs": 1, "body": CUMULATE, "scan_output_directions": [1]}, "reversed-output",
         outputs=2, output=1, reference=False, note=REFUSES,
         torch=lambda s, x: cumulate(s, x)[1].flip(0)),
    Case("Scan", (normal("N", 2), normal(4, "N", 2)), {"num_scan_inputs": 1, "body": WEIGHTED}, "captured",
         outputs=2, output=1, captures={"a": normal("N", 2)},
         torch=lambda s, x, a: torch.cumsum(x * a, 0).add(s).square()),
    Case("Scan", (normal(4, "N", 2),), {"num_scan_inputs": 1, "body": STATELESS}, "stateless",
         torch=lambda x: x * x),
    Case("Scan", (normal("N", 2), normal("N", 2), normal(3, "N")), {"num_scan_inputs": 1, "body": PASSED},
         "unused-input", outputs=2, output=1, torch=lambda a, b, x: b * a**3 + 0 * x.sum()),
    Case("Loop", (np.array(4), YES, normal("N", 2)), {"body": POWERS}, "state", outputs=2, output=0,
         result=("N", 2),
         captures={"a": positive("N", 2)}, torch=lambda v, a: powers(v, a)[0]),
    Case("Loop", (np.array(4), None, normal("N", 2)), {"body": POWERS}, "no-condition", outputs=2, output=1,
         result=(4, "N", 2),
         reference=False, note="the reference evaluator takes a missing condition for false",
         captures={"a": positive("N", 2)}, torch=lambda v, a: powers(v, a)[1]),
    Case("Loop", (np.array(4), YES, normal("N", 2)), {"body": POWERS}, "run-time-trips", outputs=2, output=1,
         reference=False,
         note="the reference evaluator joins the rows of scan outputs instead of stacking them",
         result=("T", "N", 2),
         runtime=(0, 1), captures={"a": positive(2)}, torch=lambda v, a: powers(v, a)[1]),
    Case("Loop", (None, YES, normal("N", 2)), {"body": COUNTED}, "stopped-by-condition", result=("N", 2),
         torch=lambda v: v**4),
    Case("Loop", (np.array(0), YES, normal("N", 2)), {"body": COUNTED}, "no-iteration", result=("N", 2),
         torch=lambda v: v * 1),
]  # fmt: skip
