"""Scans that capture nothing and go forwards: the same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.autodiff.forms.closed_scans import closed_scans
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.graph.io import read_model
from onnxplain.autodiff.reverse.reach import captured

from support.cases.base import Case, normal
from support.gradient_passes import LEVELS, same_gradients

NAME = "closed_scans"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (closed_scans,))


def recurrent(op: str, gates: int, direction: str, **rest: Any) -> Case:
    directions = 2 if direction == "bidirectional" else 1
    weights = (normal(directions, gates * 3, 2), normal(directions, gates * 3, 3), normal(directions, 2 * gates * 3))
    return Case(op, (normal(4, "N", 2), *weights), {"hidden_size": 3, "direction": direction, **rest})


@pytest.mark.parametrize(
    "case",
    [
        recurrent("LSTM", 4, "bidirectional"),
        recurrent("LSTM", 4, "reverse"),
        recurrent("GRU", 3, "bidirectional", linear_before_reset=1),
        recurrent("RNN", 1, "forward"),
    ],
    ids=lambda case: f"{case.op}-{case.attributes['direction']}",
)
def test_same_gradient(case: Case) -> None:
    model, report = same_gradients(case, LEVELS)
    assert report.counts()[NAME][0] > 0 == report.counts()[NAME][1]
    scans = [node for node in read_model(model).graph if node.op_type == "Scan"]
    assert scans and not any(captured(node) for node in scans)
    for node in model.graph.node:
        for attribute in node.attribute:
            if "directions" in attribute.name:
                assert not any(onnx.helper.get_attribute_value(attribute))


def test_the_portable_form_has_it() -> None:
    assert closed_scans in PASSES["portable"]
    assert not np.any([closed_scans in PASSES[name] for name in ("cpu_shared", "cuda")])
