"""Random graphs: all forms against finite differences in float64, inferred shapes against those of runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from onnxplain.autodiff.graph.emitter import Emitter
from onnxplain.autodiff.graph.operator import Operator

from fuzz_graphs.builder import attribute_graphs
from fuzz_graphs.cases import kept, load, save
from fuzz_graphs.check import Checked, check, facts, newest_opset
from fuzz_graphs.generate import generate
from fuzz_graphs.run import run
from fuzz_graphs.shapes import wrong_shape
from fuzz_graphs.shrink import shrink

SHORT, CHUNK = 80, 20
LONG = 3000


def _no_failure(seeds: range) -> None:
    tally: Counter[str] = Counter()
    for seed, outcome in run(seeds):
        assert outcome.kind != "failed", f"seed {seed}: {outcome.where}: {outcome.reason}"
        tally[outcome.kind] += 1
    assert tally["agreed"] >= 0.85 * len(seeds), tally


@pytest.mark.parametrize("first", range(0, SHORT, CHUNK))
def test_random_graphs_agree_with_finite_differences(first: int) -> None:
    _no_failure(range(first, first + CHUNK))


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 1000 + LONG, 500))
def test_many_random_graphs_agree_with_finite_differences(first: int) -> None:
    _no_failure(range(first, first + 500))


@pytest.mark.parametrize("path", kept(), ids=lambda path: path.stem)
def test_cases_that_failed_once_agree(path: Path) -> None:
    outcome = check(load(path))
    assert outcome.kind in ("agreed", "refused"), outcome


def _relu_without_its_mask(emit: Emitter, node: Operator, dy: ir.Value) -> ir.Value:
    return emit.Mul(dy, 1.01)


def _relu_model() -> onnx.ModelProto:
    """A graph with more than it takes to go wrong, the question in its metadata."""
    for seed in range(500):
        model = generate(seed, newest_opset())
        if not any(node.op_type == "Relu" for node in model.graph.node) or check(model).kind != "agreed":
            continue
        if check(model, {"Relu": _relu_without_its_mask}).kind == "failed":
            return model
    raise AssertionError("no graph noticed a wrong rule")


def test_a_wrong_rule_fails_and_is_shrunk_to_its_operator(tmp_path: Path) -> None:
    model, rules = _relu_model(), {"Relu": _relu_without_its_mask}
    outcome = check(model, rules)
    assert outcome.where == "gradient"
    small = shrink(model, outcome, rules)
    assert [node.op_type for node in small.graph.node] == ["Relu"]
    assert check(small, rules).where == "gradient"
    again = load(save(small, "wrong", tmp_path))
    assert check(again, rules).where == "gradient" and check(again).kind == "agreed"
    assert facts(again) == facts(small)


_ROUGH = """<ir_version: 6, opset_import: ["" : 11], metadata_props: ["fuzz.seed": "403087",
  "fuzz.question": "cotangent", "fuzz.logits": "y", "fuzz.output": "y", "fuzz.head": "y",
  "fuzz.classes": "1", "fuzz.batch": "0", "fuzz.extents": ""]>
rough (float[3,3,9,3] x) => (float[?,?,?] y) {
  a = ReduceSum (x)
  b = ReduceSumSquare (a)
  c = Mul (b, b)
  y = Cos (c)
}"""


def test_a_score_that_float32_cannot_follow_is_compared_in_float64() -> None:
    model = onnx.parser.parse_model(_ROUGH)
    assert check(model).reason == "float32 rounds too much"
    assert check(model, {"ReduceSumSquare": lambda emit, node, dy: emit.Mul(dy, node.inputs[0])}).where == "gradient"


def test_a_seed_always_makes_the_same_graph() -> None:
    assert generate(7, 18).SerializeToString() == generate(7, 18).SerializeToString()


def test_graphs_cover_opsets_operators_and_forms() -> None:
    models = [generate(seed, newest_opset()) for seed in range(500)]
    assert {m.opset_import[0].version for m in models} == set(range(7, newest_opset() + 1))
    operators = {node.op_type for m in models for node in m.graph.node}
    assert len(operators) > 100, sorted(operators)
    assert any(attribute_graphs(node) for m in models for node in m.graph.node)
    dims = [d for m in models for d in m.graph.input[-1].type.tensor_type.shape.dim]
    assert any(d.dim_param for d in dims) and any(d.dim_value for d in dims)
    assert any(len(m.graph.output) > 1 for m in models) and any(m.graph.value_info for m in models)
    assert any({t.name for t in m.graph.initializer} & {v.name for v in m.graph.input} for m in models)
    questions = [facts(m) for m in models]
    assert {q["question"] for q in questions} == {"class", "probability", "cotangent"}
    assert {q.get("versus") for q in questions} == {None, "class", "target"}
    assert {"0", "1", "2", None} <= {q.get("batch") for q in questions}
    assert {q.get("place") for q in questions} == {None, "all", "region", "own", "position", "best"}


def test_some_graphs_state_numbers_that_hold_in_one_run_only() -> None:
    def stale(model: onnx.ModelProto) -> bool:
        worlds = Checked(model).worlds
        return wrong_shape(model, [Checked(model).draw(world, 0) for world in worlds]) is not None

    assert any(stale(model) for model in (generate(seed, newest_opset()) for seed in range(100)))


def test_a_stated_shape_that_is_wrong_is_found() -> None:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Concat", ["y", "y"], ["z"], axis=0)]
    outputs = [value("z", TensorProto.FLOAT, ["N"])]
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ["N"])], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    found = wrong_shape(model, [{"x": np.ones(3, dtype=np.float32)}])
    assert found is not None and "'N' is 3" in found
