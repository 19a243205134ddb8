"""A run is ended from another thread, also where others run for it side by side."""

from __future__ import annotations

import threading
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import StoppedError
from onnxplain.runtime import Session, Stop, side_by_side, stoppable

from support.small_models import build


@pytest.fixture(scope="module")
def long() -> Session:
    """x [N,1] -> y, by minutes of products of matrices."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h0"])]
    for step in range(3000):
        nodes.append(helper.make_node("MatMul", [f"h{step}", "M"], [f"p{step}"]))
        nodes.append(helper.make_node("Tanh", [f"p{step}"], [f"h{step + 1}"]))
    random = np.random.default_rng(0)
    constants = {
        "W": random.standard_normal((1, 1024)).astype(np.float32),
        "M": random.standard_normal((1024, 1024)).astype(np.float32) / 32,
    }
    shape = ["N", 1024]
    model: onnx.ModelProto = build(
        nodes, [("x", TensorProto.FLOAT, ["N", 1])], [("h3000", TensorProto.FLOAT, shape)], constants
    )
    return Session(model, threads=1)


def test_a_run_ends(long: Session) -> None:
    stop = Stop()
    threading.Timer(0.5, stop.stop).start()
    began = time.monotonic()
    with pytest.raises(StoppedError, match="while it ran"), stoppable(stop):
        long.run({"x": np.ones((512, 1), np.float32)}, ["h3000"])
    assert time.monotonic() - began < 20
    with pytest.raises(StoppedError, match="before"), stoppable(stop):
        long.run({"x": np.ones((1, 1), np.float32)}, ["h3000"])
    assert long.run({"x": np.ones((1, 1), np.float32)}, ["h3000"])[0].shape == (1, 1024)


def test_runs_side_by_side_end(long: Session) -> None:
    stop = Stop()

    def run(rows: int) -> object:
        return long.run({"x": np.ones((rows, 1), np.float32)}, ["h3000"])

    threading.Timer(0.5, stop.stop).start()
    with pytest.raises(StoppedError), stoppable(stop):
        list(side_by_side(run, [256, 256], 2))
