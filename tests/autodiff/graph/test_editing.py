"""Nodes are made, names given and uses replaced in three modules only, and what those do.

``shapes_of_bodies`` makes nodes, too: a copy of a body, from which shapes are inferred and which is then dropped.
"""

from __future__ import annotations

import ast
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from onnxplain import InputError, differentiate
from onnxplain.autodiff.graph.editing import redirect, replace
from onnxplain.autodiff.graph.emitter import Emitter
from onnxplain.autodiff.graph.inference import Inference
from onnxplain.autodiff.graph.io import read_model, write_model
from onnxplain.autodiff.graph.names import Names
from onnxplain.autodiff.prepare.order import prepare

from support import REPOSITORY
from support.graphs import classifier

AUTODIFF = REPOSITORY / "src" / "onnxplain" / "autodiff"
EDITORS = {"graph/emitter.py", "graph/editing.py", "graph/copying.py", "graph/shapes_of_bodies.py"}
MAKERS = {"ir.node", "ir.Node", "ir.Value"}
REPLACERS = {"replace_all_uses_with", "replace_input_with", "replace_nodes_and_values"}


def edits(source: str) -> list[str]:
    """What a module does to a graph by hand: every call of a maker or replacer, every name it gives."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            if called in MAKERS or node.func.attr in REPLACERS:
                found.append(f"line {node.lineno}: {called}")
        elif isinstance(node, ast.Attribute) and node.attr == "name" and isinstance(node.ctx, ast.Store):
            found.append(f"line {node.lineno}: {ast.unparse(node)} =")
    return found


def test_only_the_emitter_and_its_neighbours_edit() -> None:
    files = {path.relative_to(AUTODIFF).as_posix(): path for path in sorted(AUTODIFF.rglob("*.py"))}
    by_hand = {file: found for file, path in files.items() if (found := edits(path.read_text(encoding="utf-8")))}
    assert by_hand.keys() - EDITORS == set()
    assert by_hand.keys() >= EDITORS


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("n = ir.node('Add', [a, b])", "line 1: ir.node"),
        ("n = ir.Node('', 'Add', [a, b])", "line 1: ir.Node"),
        ("v = ir.Value(name='a')", "line 1: ir.Value"),
        ("\nold.replace_all_uses_with(new)", "line 2: old.replace_all_uses_with"),
        ("ir.convenience.replace_all_uses_with(a, b)", "line 1: ir.convenience.replace_all_uses_with"),
        ("n.replace_input_with(0, v)", "line 1: n.replace_input_with"),
        ("a.name, b.name = None, a.name", "line 1: b.name ="),
    ],
)
def test_an_edit_by_hand_is_found(source: str, found: str) -> None:
    assert found in edits(source)


def emitter(model: onnx.ModelProto | None = None) -> Emitter:
    graph = read_model(model or classifier()).graph
    return Emitter(graph, Inference(graph.opset_imports))


def test_an_unknown_operator_fails_where_it_is_emitted() -> None:
    emit = emitter()
    x = emit.graph.inputs[0]
    with pytest.raises(InputError, match=r"emit\.Mull: ONNX's default domain has no operator 'Mull' at opset 18"):
        emit.Mull(x, x)
    with pytest.raises(InputError, match=r"'Gelu' is newer than opset 18, which the graph has"):
        emit.Gelu(x)
    assert emit.op("Mull", x, outputs=1, domain="somebodys.own")


def test_a_rule_with_a_slip_of_the_pen_is_named() -> None:
    with pytest.raises(InputError, match=r"emit\.Mull"):
        differentiate(classifier(), rules={"Mul": lambda emit, node, dy: [emit.Mull(dy, dy), None]})


def test_names_come_from_one_table() -> None:
    """Two emitters of one graph, and one of a subgraph, never give the same name."""
    emit = emitter()
    other = Emitter(emit.graph, Inference(emit.graph.opset_imports))
    x = emit.graph.inputs[0]
    child = other.child(ir.Graph([], [], nodes=[], opset_imports={"": 18}))
    values = [e.Neg(x) for e in (emit, other, child, emit)]
    assert [v.name for v in values] == ["grad/Neg", "grad/Neg_1", "grad/Neg_2", "grad/Neg_3"]
    assert Names.of(emit.graph).fresh("x") == "x_1"


def test_before_puts_nodes_in_front_of_another() -> None:
    emit = emitter()
    _, matmul = emit.graph
    with emit.before(matmul):
        negative = emit.Neg(emit.graph.inputs[0])
    emit.Neg(negative)
    assert [node.op_type for node in emit.graph] == ["Mul", "Neg", "MatMul", "Neg"]
    assert negative.dtype == ir.DataType.FLOAT and str(negative.shape) == "[N,3]"


def test_an_output_keeps_its_public_name() -> None:
    emit = emitter()
    logits = emit.graph.outputs[0]
    redirect(emit, logits, first := emit.Identity(logits.producer().inputs[0]))  # type: ignore[union-attr]
    assert [v.name for v in emit.graph.outputs] == ["logits"] and emit.graph.outputs[0] is first
    replace(emit, first, second := emit.Neg(emit.graph.inputs[0]))
    assert emit.graph.outputs[0] is second and second.name == "logits"
    names = [v.name for node in emit.graph for v in node.outputs]
    assert len(set(names)) == len(names)


def test_two_branches_with_the_same_inner_names() -> None:
    """Names are their own in each branch; both branches are inlined, so one gets another name."""
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)

    def constant_if(op_type: str, before: str, output: str) -> onnx.NodeProto:
        branch = helper.make_graph([helper.make_node(op_type, [before], ["inner"])], "branch", [], [value])
        return helper.make_node("If", ["yes"], [output], then_branch=branch, else_branch=branch)

    model = classifier([constant_if("Neg", "logits", "a"), constant_if("Abs", "a", "b")], "b")
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    read = read_model(model)
    prepare(read)
    onnx.checker.check_model(write_model(read), full_check=True)
    assert [node.op_type for node in read.graph] == ["Mul", "MatMul", "Neg", "Identity", "Abs", "Identity"]
    assert "grad_x" in [v.name for v in differentiate(model).graph.output]


def test_only_a_few_modules_are_allowed_to() -> None:
    assert all((AUTODIFF / Path(file)).is_file() for file in EDITORS)
