"""Runs on buffers that stay in their places. They are the CPU's here; that CUDA captures a graph is not shown."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from onnxplain.runtime.bound import MOST, BoundRuns
from onnxplain.runtime.session import _bound_runs

from support import small_models as small


@pytest.fixture
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(small.quadratic().SerializeToString(), providers=["CPUExecutionProvider"])


def test_answers_are_those_of_plain_runs_for_every_shape(session: onnxruntime.InferenceSession) -> None:
    runs, found, want = BoundRuns(session, "cpu", 0), [], []
    for number in range(2 * MOST + 4):  # more shapes than have buffers, and all of them twice
        x = small.inputs(1 + number % (MOST + 2), seed=number)
        kept = x.copy()
        found.append(runs.run({"x": x}, ["logits"], None)[0])
        want.append(session.run(["logits"], {"x": x})[0])
        assert np.array_equal(x, kept)
    for one, other in zip(found, want):
        np.testing.assert_array_equal(one, other)


def test_arrays_of_any_layout_and_other_outputs(session: onnxruntime.InferenceSession) -> None:
    runs = BoundRuns(session, "cpu", 0)
    turned = small.inputs(2).transpose(0, 1, 3, 2)
    want = session.run(["logits"], {"x": np.ascontiguousarray(turned)})[0]
    np.testing.assert_array_equal(runs.run({"x": turned}, ["logits"], onnxruntime.RunOptions())[0], want)


def test_they_are_for_sessions_whose_options_ask_for_graphs(session: onnxruntime.InferenceSession) -> None:
    for options in ({}, {"enable_cuda_graph": "0"}, {"device_id": "1"}):
        assert _bound_runs(session, options) is None
    for value in ("1", 1, True, "True"):
        assert _bound_runs(session, {"enable_cuda_graph": value, "device_id": "1"}) is not None
