"""What code stumbles over in a malformed model names the node and the attribute, and keeps the cause."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from onnxplain import differentiate
from onnxplain.autodiff.graph.guard import NotUnderstoodError, guarded
from onnxplain.autodiff.graph.operator import Operator
from onnxplain.errors import InputError, ModelError


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    graph = helper.make_graph(list(nodes), "graph", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_node_and_its_attribute_are_named() -> None:
    operator = Operator(ir.node("If", [], {"then_branch": "two"}, name="first"), {"": 18}, lambda value: False)
    read = guarded()(operator.graph)
    with pytest.raises(NotUnderstoodError, match="If node 'first', attribute 'then_branch': TypeError: ") as found:
        read("then_branch")
    assert isinstance(found.value.__cause__, TypeError)
    assert isinstance(found.value, ModelError)
    with pytest.raises(NotUnderstoodError, match="at the If node 'first', attribute 'else_branch': KeyError: "):
        read("else_branch")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"auto_pad": 3},
            r"node 'up' \(ConvTranspose\): the attribute 'auto_pad' is of the kind INT; it has to be STRING",
        ),
        ({"group": [1]}, "the attribute 'group' is of the kind INTS; it has to be INT"),
        (
            {"groups": 1},
            r"node 'up' \(ConvTranspose\) has the attribute 'groups', which ConvTranspose of its opset has not; it has "
            "auto_pad, dilations, group, kernel_shape, output_padding, output_shape, pads, strides",
        ),
    ],
)
def test_attributes_of_the_wrong_kind_are_refused(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        differentiate(model(helper.make_node("ConvTranspose", ["x", "x"], ["y"], name="up", **attributes)))


def test_attributes_of_no_kind_are_refused() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], name="r", __tool=1)
    assert differentiate(model(node)).graph.node
    node.attribute[0].type = onnx.AttributeProto.UNDEFINED
    with pytest.raises(ModelError, match=r"node 'r' \(Relu\): the attribute '__tool' has no kind that there is"):
        differentiate(model(node))


def test_what_an_operator_needs_has_to_be_there() -> None:
    with pytest.raises(ModelError, match=r"node 'c' \(Cast\) lacks the attribute 'to'"):
        differentiate(model(helper.make_node("Cast", ["x"], ["y"], name="c")))
    with pytest.raises(ModelError, match=r"node 'm' \(MatMul\) reads 1 inputs; it takes 2 to 2"):
        differentiate(model(helper.make_node("MatMul", ["x"], ["y"], name="m")))


@pytest.mark.parametrize("damage", ["data", "type", "shape", "version"])
def test_tensors_and_versions_that_there_cannot_be_are_refused(damage: str) -> None:
    made = model(helper.make_node("Add", ["x", "w"], ["y"]))
    weight = made.graph.initializer.add()
    weight.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0] * 4))
    assert differentiate(made).graph.node
    if damage == "data":
        weight.float_data.append(1.0)
    elif damage == "type":
        weight.data_type = 0
    elif damage == "shape":
        weight.dims[0] = -4
    else:
        made.opset_import.add(domain="ai.onnx.ml", version=2**40)
    expected = "holds 5 numbers" if damage == "data" else "which there cannot be"
    with pytest.raises(ModelError, match=expected):
        differentiate(made)


def test_errors_that_were_meant_pass() -> None:
    with pytest.raises(InputError, match="as it was"), guarded():
        raise InputError("as it was.")


def test_too_little_memory_is_an_error_of_the_model() -> None:
    with pytest.raises(ModelError, match="needs more memory than this process may have: no more is known"), guarded():
        raise MemoryError


def test_errors_of_a_users_rule_are_left_alone() -> None:
    namespace: dict[str, object] = {"__name__": "somebodys.rules"}
    exec("def rule(emit, node, dy):\n    return dy.nothing", namespace)  # a module of somebody else
    with pytest.raises(AttributeError, match="nothing"):
        differentiate(model(helper.make_node("Relu", ["x"], ["y"])), rules={"Relu": namespace["rule"]})


def test_interrupts_pass() -> None:
    with pytest.raises(KeyboardInterrupt), guarded():
        raise KeyboardInterrupt
