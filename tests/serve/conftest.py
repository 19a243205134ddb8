"""Services that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from support.service import SUPPORTED, Service, service
from support.small_models import build, image_metadata, picture, quadratic

needs_kserve = pytest.mark.skipif(not SUPPORTED, reason="kserve needs Python before 3.14")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a service are for Pythons that kserve has packages for."""
    for item in items:
        if "running" in getattr(item, "fixturenames", ()) or "folder" in getattr(item, "fixturenames", ()):
            item.add_marker(needs_kserve)


def slow(count: int) -> onnx.ModelProto:
    """x [N,3,4,4] -> [N,2], by so many products of large matrices: a map takes long, and can end at each of them."""
    side = 1024
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "W"], ["row"]),
        helper.make_node("Unsqueeze", ["row", "one"], ["columns"]),
        helper.make_node("Unsqueeze", ["row", "two"], ["rows"]),
        helper.make_node("MatMul", ["rows", "columns"], ["h0"]),
    ]
    for step in range(count):
        nodes += [
            helper.make_node("MatMul", [f"h{step}", f"h{step}"], [f"p{step}"]),
            helper.make_node("Tanh", [f"p{step}"], [f"h{step + 1}"]),
        ]
    nodes.append(helper.make_node("ReduceMean", [f"h{count}", "last"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("Gemm", ["mean", "V"], ["y"]))
    random = np.random.default_rng(0)
    constants = {
        "W": random.standard_normal((48, side)).astype(np.float32) / 100,
        "V": random.standard_normal((side, 2)).astype(np.float32),
        "one": np.array([1]),
        "two": np.array([2]),
        "last": np.array([2]),
    }
    shape = ["N", 3, 4, 4]
    return build(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, ["N", 2])], constants)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and the photo that services are asked about."""
    place = tmp_path_factory.mktemp("served")
    onnx.save(quadratic(ending="Softmax", metadata=image_metadata()), place / "small.onnx")
    onnx.save(slow(100), place / "slow.onnx")
    onnx.save(slow(4), place / "busy.onnx")
    Image.fromarray(picture()).save(place / "photo.png")
    (place / "keys").write_text("# keys\nsecret\nother\n", encoding="utf-8")
    return place


@pytest.fixture(scope="session")
def running(folder: Path) -> Iterator[Service]:
    """A service of the small model, as most tests ask it."""
    log = folder / "log"
    with service(
        folder / "run", folder / "small.onnx", "--queue", 64, "--log-explanations", log, "--sample", 1
    ) as found:
        yield found
