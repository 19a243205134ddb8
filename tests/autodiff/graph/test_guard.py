"""What code stumbles over in a malformed model names the node and the attribute, and keeps the cause."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import differentiate
from onnxplain.autodiff.graph.guard import NotUnderstoodError, guarded
from onnxplain.errors import InputError, ModelError


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    graph = helper.make_graph(list(nodes), "graph", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_an_attribute_of_the_wrong_kind_is_named_with_its_node() -> None:
    node = helper.make_node("ConvTranspose", ["x", "x"], ["y"], name="up")
    node.attribute.append(helper.make_attribute("auto_pad", 3))
    with pytest.raises(
        NotUnderstoodError, match=r"at the ConvTranspose node 'up', attribute 'auto_pad': TypeError: "
    ) as found:
        differentiate(model(node))
    assert isinstance(found.value.__cause__, TypeError)
    assert isinstance(found.value, ModelError)


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
