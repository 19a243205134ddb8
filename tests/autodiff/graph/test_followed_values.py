"""What a model computes from shapes stays as it is: casts, conditions and old slices of what is followed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain.autodiff import differentiate

from support.graphs import build, run

FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
X = np.random.default_rng(2).standard_normal((3, 3)).astype(np.float32)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def repeated(condition: np.ndarray, opset: int) -> onnx.ModelProto:
    """y = x, repeated twice or thrice along axis 1: Where(Cast(condition) to bool, 2, 3) makes the shape of a Tile.

    ``condition`` is added to zeros that are computed from a shape, so that it is a value which inference follows.
    """
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape first", "batch"),
        node("Sub", "batch batch", "zero"),
        node("Add", "zero condition", "number"),
        node("Cast", "number", "chosen", to=BOOL),
        node("Where", "chosen two three", "times"),
        node("Concat", "one times", "repeats", axis=0),
        node("Tile", "x repeats", "y"),
    ]
    constants = {"first": np.array([0]), "condition": condition, "two": np.array([2]), "three": np.array([3])}
    constants["one"] = np.array([1])
    return build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", None])], constants, opset)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("condition", [0, 1, 2, 7, -1, -5])
def test_any_number_but_zero_is_true(condition: int, opset: int) -> None:
    """The model's own output, and its gradient, are those of the branch that ONNX Runtime takes."""
    model = repeated(np.array([condition]), opset)
    times = 3 if condition == 0 else 2
    made = differentiate(model, target="cotangent")
    ones = np.ones((3, 3 * times), np.float32)
    found = run(made, x=X, cotangent=ones)
    np.testing.assert_array_equal(found["y"], np.tile(X, (1, times)))
    np.testing.assert_array_equal(found["grad_x"], np.full_like(X, times))


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_an_extent_as_a_condition(samples: int) -> None:
    """A symbolic extent is true, whatever number it stands for."""
    model = repeated(np.array([0]), 18)
    model.graph.node[4].input[0] = "batch"
    x = X[:samples]
    found = run(differentiate(model, target="cotangent"), x=x, cotangent=np.ones((samples, 6), np.float32))
    np.testing.assert_array_equal(found["y"], np.tile(x, (1, 2)))
    np.testing.assert_array_equal(found["grad_x"], np.full_like(x, 2))


@pytest.mark.parametrize("big", [2**31, 2**40, 2**62, np.iinfo(np.int64).max, -(2**40)])
def test_a_number_beyond_int32_cast_to_int32(big: int) -> None:
    """Exporters write the end of a slice as the largest int64, and some cast it: the model runs, and so must this."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape first", "batch"),
        node("Sub", "batch batch", "zero"),
        node("Add", "zero big", "end"),
        node("Cast", "end", "short", to=INT32),
        node("Cast", "short", "float", to=FLOAT),
        node("Mul", "float nothing", "offset"),
        node("Mul", "x x", "squares"),
        node("Add", "squares offset", "y"),
    ]
    constants = {"first": np.array([0]), "big": np.array([big]), "nothing": np.zeros(1, np.float32)}
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], constants)
    found = run(differentiate(model, target="cotangent"), x=X, cotangent=np.ones_like(X))
    np.testing.assert_allclose(found["y"], run(model, x=X)["y"], rtol=1e-6)
    np.testing.assert_allclose(found["grad_x"], 2 * X, rtol=1e-6)


def test_a_number_that_wraps_keeps_the_models_own_output() -> None:
    """2**32 + 5 is 5 in int32, as ONNX Runtime has it: y = x ** 2 + 5."""
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape first", "batch"),
        node("Sub", "batch batch", "zero"),
        node("Add", "zero big", "sum"),
        node("Cast", "sum", "short", to=INT32),
        node("Cast", "short", "five", to=FLOAT),
        node("Mul", "x x", "squares"),
        node("Add", "squares five", "y"),
    ]
    constants = {"first": np.array([0]), "big": np.array([2**32 + 5])}
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], constants)
    found = run(differentiate(model, target="cotangent"), x=X, cotangent=np.ones_like(X))
    np.testing.assert_allclose(found["y"], run(model, x=X)["y"], rtol=1e-6)


@pytest.mark.parametrize("opset", [7, 8, 9])
@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"starts": [0], "ends": [1]}, "N"),
        ({"starts": [0], "ends": [1], "axes": [0]}, "N"),
        ({"starts": [1], "ends": [2**31 - 1], "axes": [0]}, "3"),
    ],
    ids=str,
)
def test_a_slice_with_attributes_of_a_shape(bounds: dict[str, Any], kept: str, opset: int) -> None:
    """Below opset 10 a Slice states its bounds in attributes: y is x, folded by a part of its own shape."""
    parts = "batch rest" if kept == "N" else "rest batch"
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape", "batch", **bounds),
        node("Concat", parts, "target", axis=0),
        node("Mul", "x x", "squares"),
        node("Reshape", "squares target", "y"),
    ]
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], {"rest": np.array([-1])}, opset)
    found = run(differentiate(model, target="cotangent"), x=X, cotangent=np.ones_like(X))
    np.testing.assert_allclose(found["grad_x"], 2 * X, rtol=1e-6)
    np.testing.assert_allclose(found["y"], X * X, rtol=1e-6)


def test_strings_that_are_constants_say_nothing_of_shapes() -> None:
    """Strings have no bytes that inference could go by."""
    words = np.array(["cat", "dog", "cat"], object)
    nodes = [
        node("ArgMax", "x", "best", axis=1, keepdims=1),
        node("Gather", "words best", "word"),
        node("Equal", "word cat", "same"),
        node("Cast", "same", "number", to=FLOAT),
        node("Mul", "x number", "y"),
    ]
    constants = {"words": words, "cat": np.array(["cat"], object)}
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])], constants, 19)
    found = run(differentiate(model, target="cotangent"), x=X, cotangent=np.ones_like(X))
    np.testing.assert_array_equal(found["grad_x"], np.repeat(X.argmax(1, keepdims=True) != 1, 3, axis=1))
