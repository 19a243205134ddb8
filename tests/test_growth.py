"""benchmarks/growth.py on a tiny model: its files, its processes, what it keeps, its tables."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from support import REPOSITORY


@pytest.fixture
def growth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import growth

    return growth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a model of one convolution, of images [N,3,8,8]."""
    weight = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "W"], ["z"]), helper.make_node("Flatten", ["z"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(weight, "W")],
    )
    (tmp_path / "tiny").mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        tmp_path / "tiny" / "model.onnx",
    )
    return tmp_path


def test_measured_once_and_listed(growth: ModuleType, folder: Path) -> None:
    points = [growth.Point("batch", "2", "tiny", batch=2, pixels=8, threads=1)]
    growth.prepare(folder, points)
    assert all(point.path(folder, runtime, "gradient").is_file() for point in points for runtime in growth.FORMS)
    growth.measure(folder, points, memory=4)
    entries = growth.read(folder / "growth.jsonl")
    assert [(entry["runtime"], entry["part"]) for entry in entries] == [
        (runtime, part) for runtime in growth.FORMS for part in growth.PARTS
    ]
    here = [name for name in growth.FORMS if importlib.util.find_spec(name)]
    for entry in entries:
        if entry["runtime"] in here:
            assert entry["seconds"] > 0
            assert entry["peak"] > 10
        else:
            assert "openvino" in entry["failed"]
    growth.measure(folder, points, memory=4)
    assert growth.read(folder / "growth.jsonl") == entries
    lines = growth.tables(entries).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("| batch | ORT forward | gradient |")
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[0] == "2"
    assert cells[1].endswith(" ms")
    assert float(cells[2]) > 0


def test_what_takes_more_memory_than_it_may_is_said(growth: ModuleType, folder: Path) -> None:
    point = growth.Point("batch", "4096", "tiny", batch=1 << 20, pixels=8, threads=1)
    found = growth.measured(point, folder, "onnxruntime", "forward", memory=0.3)
    assert set(found) == {"failed"}
    row = {"axis": "batch", "value": "4096", "runtime": "onnxruntime", "part": "forward", **found}
    assert growth.tables([row]).splitlines()[2] == "| 4096 | - | - | - | - | - | - | - | - |"


def test_every_point_has_its_model(growth: ModuleType) -> None:
    assert {point.file for point in growth.POINTS} <= set(growth._makers())
    assert len({(point.axis, point.value) for point in growth.POINTS}) == len(growth.POINTS)
