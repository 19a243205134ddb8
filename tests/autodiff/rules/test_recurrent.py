"""What lies behind the end of a sequence is not read: its gradient is zero, whatever stands there."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxplain.autodiff import differentiate

from support import small_models as small
from support.checker import session

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, WIDTH, HIDDEN = 5, 3, 2, 3
LENGTHS = np.array([5, 2, 3], np.int32)


@pytest.mark.parametrize("padding", [np.nan, np.inf], ids=["nan", "infinity"])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("op", GATES)
def test_padding_that_is_no_number_leaves_the_gradients_alone(op: str, direction: str, padding: float) -> None:
    rng = np.random.default_rng(0)
    shapes = {"W": (1, GATES[op] * HIDDEN, WIDTH), "R": (1, GATES[op] * HIDDEN, HIDDEN)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    node = helper.make_node(op, ["x", "W", "R", "", "lengths"], ["y"], hidden_size=HIDDEN, direction=direction)
    model = small.build(
        [node],
        [
            ("x", TensorProto.FLOAT, [STEPS, BATCH, WIDTH]),
            ("W", TensorProto.FLOAT, shapes["W"]),
            ("lengths", TensorProto.INT32, [BATCH]),
        ],
        [("y", TensorProto.FLOAT, [STEPS, 1, BATCH, HIDDEN])],
        {"R": weights["R"]},
    )
    runner = session(differentiate(model, wrt=["x", "W"], target="cotangent"))
    cotangent = rng.standard_normal((STEPS, 1, BATCH, HIDDEN)).astype(np.float32)
    x = rng.standard_normal((STEPS, BATCH, WIDTH)).astype(np.float32)
    behind = np.arange(STEPS)[:, None] >= LENGTHS
    found = []
    for value in (np.float32(0), np.float32(padding)):
        padded = np.where(behind[:, :, None], value, x)
        feeds = {"x": padded, "W": weights["W"], "lengths": LENGTHS, "cotangent": cotangent}
        score, *gradients = runner.run(["y", "grad_x", "grad_W"], feeds)
        assert np.isfinite(score).all()
        found.append(gradients)
    for expected, gradient in zip(*found):
        np.testing.assert_array_equal(gradient, expected)
    assert not found[1][0][behind].any()
    assert found[1][0][~behind].all()
