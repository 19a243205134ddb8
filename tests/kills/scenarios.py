"""What is run, onto files of an earlier run with other values."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from support import colour_detectors as colours
from support import small_models as small

_EXPLAIN = ("explain", "model.onnx", "photo.png", "second.png")


@dataclass(frozen=True)
class Scenario:
    """A command, and the one that wrote what it replaces; both write into the folder ``out``.

    ``once``: where the command is done, it refuses to run again.
    """

    name: str
    before: Sequence[str]
    command: Sequence[str]
    once: bool = False


def scenarios() -> list[Scenario]:
    """Every command that writes; those for torch and Parquet where there are these."""
    found = [
        Scenario(
            "explain",
            [*_EXPLAIN, "-o", "out", "-f", "png,npy,json", "-t", "1", "-q"],
            [*_EXPLAIN, "-o", "out", "-f", "png,npy,json", "-t", "2", "-q"],
        ),
        Scenario(
            "explain-report",
            [*_EXPLAIN, "--report", "out/report.html", "-t", "1", "-q"],
            [*_EXPLAIN, "--report", "out/report.html", "-t", "2", "-q"],
        ),
        Scenario(
            "explain-grid",
            [*_EXPLAIN, "-p", "grid", "-o", "out/grid.png", "-t", "1", "-q"],
            [*_EXPLAIN, "-p", "grid", "-o", "out/grid.png", "-t", "2", "-q"],
        ),
        Scenario(
            "detect",
            ["detect", "yolo.onnx", "photo.png", "-o", "out", "--layout", "yolov8", "-q", "--threshold", "0.9"],
            ["detect", "yolo.onnx", "photo.png", "-o", "out", "--layout", "yolov8", "-q"],
        ),
        Scenario(
            "differentiate",
            ["differentiate", "model.onnx", "-o", "out/grad.onnx", "-q"],
            ["differentiate", "model.onnx", "-o", "out/grad.onnx", "--saliency", "-q"],
        ),
        Scenario(
            "differentiate-weights",
            ["differentiate", "first/wide.onnx", "-o", "out/grad.onnx", "-q"],
            ["differentiate", "second/wide.onnx", "-o", "out/grad.onnx", "-q"],
        ),
        Scenario(
            "visualize-class",
            ["visualize-class", "model.onnx", "-t", "1", "-o", "out", "--steps", "2", "--every", "1", "-q"],
            ["visualize-class", "model.onnx", "-t", "1", "-o", "out", "--steps", "3", "--every", "1", "-q"],
        ),
        Scenario(
            "evaluate",
            ["evaluate", "model.onnx", "photo.png", "-o", "out", "--steps", "2", "-q"],
            ["evaluate", "model.onnx", "photo.png", "-o", "out", "--steps", "3", "-q"],
        ),
        Scenario(
            "package",
            ["package", "model.onnx", "-o", "out", "--name", "first", "-q"],
            ["package", "model.onnx", "-o", "out", "--name", "second", "-q"],
            once=True,
        ),
    ]
    if importlib.util.find_spec("pyarrow") is not None:
        photos = ["bulk", "model.onnx", "photos", "-o", "out", "--shard-size", "1", "-f", "png", "-q"]
        found.append(Scenario("bulk", ["check", "model.onnx"], [*photos, "--resume"]))
    if importlib.util.find_spec("torch") is not None:
        shape = ["--input-shape", "2,4", "--exporter", "torchscript", "-o", "out/torch.onnx", "-q"]
        found.append(
            Scenario(
                "export-torch",
                ["export-torch", "module_to_export:first", *shape],
                ["export-torch", "module_to_export:second", *shape],
            )
        )
    return found


def prepare(folder: Path) -> None:
    """Write what the commands read."""
    model = small.quadratic(metadata=small.image_metadata())
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "yolo.onnx").write_bytes(colours.yolo("yolov8").SerializeToString())
    Image.fromarray(colours.photo()).save(folder / "photo.png")
    Image.fromarray(colours.photo()[::-1]).save(folder / "second.png")
    (folder / "photos").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(colours.photo(), number, axis=1)).save(folder / "photos" / f"{number}.png")
    for number, name in enumerate(("first", "second")):
        (folder / name).mkdir()
        onnx.save(_wide(number), folder / name / "wide.onnx", save_as_external_data=True, location="weights")
    (folder / "module_to_export.py").write_text(
        "import torch\n\n\ndef first(bias=0.0):\n    torch.manual_seed(0)\n    made = torch.nn.Linear(4, 3)\n"
        "    torch.nn.init.constant_(made.bias, bias)\n    return made.eval()\n\n\n"
        "def second():\n    return first(1.0)\n"
    )


def _wide(seed: int) -> onnx.ModelProto:
    weights = np.random.default_rng(seed).standard_normal((200, 300)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    return small.build(
        [node], [("x", TensorProto.FLOAT, ["N", 200])], [("y", TensorProto.FLOAT, ["N", 300])], {"W": weights}
    )
