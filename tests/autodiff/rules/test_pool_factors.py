"""Pools with another number of windows than shape inference says: factors are those of what the runtime computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import OnnxplainError
from onnxplain.autodiff import differentiate

from support.checker import session
from support.graphs import build

FLOAT = TensorProto.FLOAT
EXTENTS = (5, 7)
#: Different by more than the step of the differences, above zero.
X = (np.random.default_rng(0).permutation(35).reshape(1, 1, *EXTENTS) / 8 + 1).astype(np.float32)


def means(op_type: str, open_axes: str, opset: int, **attributes: Any) -> onnx.ModelProto:
    """y [1,1,1,1]: the mean of the pool of x [1,1,H,W], one axis after the other; H and W may be open."""
    nodes = [helper.make_node(op_type, ["x"], ["pooled"], **attributes)]
    for axis, source, result in ((3, "pooled", "rows"), (2, "rows", "y")):
        inputs, stated = ([source], {"axes": [axis]}) if opset < 18 else ([source, f"axis_{axis}"], {})
        nodes.append(helper.make_node("ReduceMean", inputs, [result], **stated))
    axes = {f"axis_{axis}": np.array([axis]) for axis in (2, 3)} if opset >= 18 else {}
    extents = [name if name in open_axes else extent for name, extent in zip("HW", EXTENTS)]
    return build(nodes, [("x", FLOAT, [1, 1, *extents])], [("y", FLOAT, [1, 1, 1, 1])], axes, opset)


def unless_refused(call: Callable[[], Any], *words: str) -> Any:
    """What ``call`` returns; None where it is refused for a reason that has one of these words."""
    try:
        return call()
    except OnnxplainError as error:
        reason = str(error)
    assert any(word in reason for word in words), reason
    return None


def expected(model: onnx.ModelProto) -> np.ndarray:
    """Central differences of the model itself in ONNX Runtime."""
    run, gradient, step = session(model), np.zeros(X.shape), np.float32(2**-5)
    for at in np.ndindex(*X.shape):
        move = np.zeros_like(X)
        move[at] = step
        ahead, behind = (np.float64(run.run(["y"], {"x": moved})[0].item()) for moved in (X + move, X - move))
        gradient[at] = (ahead - behind) / (2 * step)
    return gradient


def check(model: onnx.ModelProto, op_type: str) -> None:
    """The gradient is that of what ONNX Runtime computes, or refused by the operator's name."""
    made = unless_refused(lambda: differentiate(model, target="cotangent"), op_type)
    if made is not None:
        found = session(made).run(["grad_x"], {"x": X, "cotangent": np.ones((1, 1, 1, 1), np.float32)})[0]
        np.testing.assert_allclose(found, expected(model), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize("open_axes", ["", "H", "W", "HW"])
@pytest.mark.parametrize(
    ("op_type", "options"),
    [("AveragePool", {}), ("AveragePool", {"count_include_pad": 1}), ("MaxPool", {}), ("LpPool", {"p": 2})],
    ids=["AveragePool", "AveragePool with padding", "MaxPool", "LpPool"],
)
def test_ceil_mode(op_type: str, options: dict[str, Any], open_axes: str, opset: int) -> None:
    """A kernel of 2 with strides of 2, and padding of 1: a window that would start behind 5 or 7 is dropped."""
    if op_type == "LpPool" and opset < 18:
        pytest.skip("LpPool has a ceil_mode from opset 18 on")
    model = means(
        op_type, open_axes, opset, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, **options
    )
    check(model, op_type)


@pytest.mark.parametrize("opset", [11, 18, 22])
@pytest.mark.parametrize("open_axes", ["", "H", "HW"])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("kernel", "strides"), [(3, 1), (2, 2)])
def test_same_padding_with_dilations(kernel: int, strides: int, auto_pad: str, open_axes: str, opset: int) -> None:
    """ONNX Runtime pads a maximum for the kernel as it is without dilations, so that there are fewer windows."""
    shape = {"kernel_shape": [kernel] * 2, "strides": [strides] * 2, "dilations": [2, 2]}
    check(means("MaxPool", open_axes, opset, auto_pad=auto_pad, **shape), "MaxPool")
