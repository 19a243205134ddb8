"""``onnxplain check --engine``: what is known to go wrong in an engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from onnxplain.bundled import bundled_model

from support.command_line import Runner
from support.graphs import FLOAT, build


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    nodes = [
        helper.make_node("Gemm", ["x", "W"], ["h"], name="first"),
        helper.make_node("Gemm", ["h", "W"], ["y"], name="second", transB=1),
    ]
    weights = {"W": np.eye(4, dtype=np.float32) + 1}
    model = build(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], weights)
    (tmp_path / "tied.onnx").write_bytes(model.SerializeToString())
    return Runner(tmp_path, monkeypatch, capsys)


def test_wrong_numbers_are_a_problem(run: Runner) -> None:
    code, out, err = run("check", "tied.onnx", "--engine", "openvino")
    assert code == 1 and "1 known problem(s)" in out
    assert "openvino returns wrong numbers" in err and "'second'" in err


def test_json(run: Runner) -> None:
    found = json.loads(run("check", "tied.onnx", "--engine", "openvino", "--json").out)
    assert found["engine"]["name"] == "openvino"
    assert [issue["nodes"] for issue in found["engine"]["issues"]] == [["second"]]
    assert found["problems"] == [found["engine"]["issues"][0]["text"]]


def test_nothing_known(run: Runner) -> None:
    code, out, err = run("check", "tied.onnx", "--engine", "onnxruntime")
    assert (code, err) == (0, "") and "no known problem" in out


def test_the_bundled_model_has_no_known_problem(run: Runner) -> None:
    assert run("check", bundled_model(), "--engine", "openvino").code == 0


def test_unknown_engine(run: Runner) -> None:
    code, _, err = run("check", "tied.onnx", "--engine", "tvm")
    assert code == 1 and "engine must be one of" in err
