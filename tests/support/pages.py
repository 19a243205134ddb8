"""The blocks of code in the pages, and a folder with the files that they name."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from onnxplain.bundled import bundled_model, bundled_photo

from . import REPOSITORY, colour_detectors
from . import small_models as small
from .command_line import Runner

_FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<kind>python|bash)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
_PRODUCED = REPOSITORY / "tests" / "producers" / "fixtures"


class Block(NamedTuple):
    kind: str
    code: str
    reason: str | None  #: why it is not run


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in Python and of commands, in order."""
    found = _FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["kind"], one["code"], one["reason"]) for one in found]


def commands(code: str) -> list[list[str]]:
    """The words of each command of a block, without comments."""
    lines = [shlex.split(line, comments=True) for line in code.replace("\\\n", " ").splitlines()]
    return [words for words in lines if words]


def run_page(page: Path, run: Runner) -> int:
    """Run the blocks of a page in order, Python in one namespace; return how many were run.

    Of commands those of onnxplain are run, and lines of pip left out; others are refused.
    """
    namespace: dict[str, object]
    namespace, count = {"__name__": "__page__"}, 0
    for block in blocks(page):
        if block.reason is not None:
            continue
        count += 1
        if block.kind == "python":
            exec(compile(block.code, f"{page.name}, block {count}", "exec"), namespace)
            continue
        for words in commands(block.code):
            if words[:4] == ["python", "-m", "pip", "install"]:
                continue
            words, place = (words[:-2], words[-1]) if ">" in words else (words, None)
            assert words[0] == "onnxplain", words
            result = run(*words[1:])
            assert result.code == 0, (words, result.err)
            if place is not None:
                Path(place).write_text(result.out, encoding="utf-8")
    return count


def furnish(folder: Path) -> None:
    """Write the models and photos that the pages name: the real classifier, and tiny ones of the other kinds."""
    photo = bundled_photo()
    shutil.copy(bundled_model(), folder / "model.onnx")
    shutil.copy(bundled_model(), folder / "with_gradient.onnx")
    (folder / "photos").mkdir()
    for name in ("photo.jpg", "a.jpg", "b.jpg", "photos/a.jpg", "photos/b.jpg"):
        shutil.copy(photo, folder / name)
    shutil.copy(REPOSITORY / "docs" / "images" / "pug.jpg", folder / "pug.jpg")
    Image.fromarray(colour_detectors.photo()).save(folder / "street.png")
    onnx.save(colour_detectors.yolo("yolov8"), folder / "detector.onnx")
    onnx.save(segmentation(), folder / "segmentation.onnx")
    onnx.save(embedding(), folder / "embedding.onnx")
    onnx.save(small.tokens(), folder / "text.onnx")
    onnx.save(small.signal(), folder / "signal.onnx")
    shutil.copy(_PRODUCED / "sklearn_refused_forest_wine.onnx", folder / "forest.onnx")
    shutil.copy(_PRODUCED / "sklearn_logistic_wine_zipmap.onnx", folder / "table.onnx")
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    Image.fromarray(mask).resize((451, 300)).save(folder / "mask.png")


def _image_metadata(labels: str) -> dict[str, str]:
    return {
        "onnxplain.preprocessing": '{"size": 32, "resize": "exact"}',
        "onnxplain.labels": labels,
    }


def segmentation() -> onnx.ModelProto:
    """x [N,3,32,32] -> softmax [N,3,32,32] over "red", "green" and "blue": how much of each is around a pixel."""
    kernel = np.zeros((3, 3, 5, 5), np.float32)
    kernel[range(3), range(3)] = 1
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["logits"], pads=[2, 2, 2, 2]),
        helper.make_node("Softmax", ["logits"], ["classes"], axis=1),
    ]
    shape = ["N", 3, 32, 32]
    specs = [("x", TensorProto.FLOAT, shape)], [("classes", TensorProto.FLOAT, shape)]
    metadata = {**_image_metadata('["red", "green", "blue"]'), "onnxplain.layout": "segmentation"}
    return small.build(nodes, *specs, {"K": kernel}, metadata)


def embedding() -> onnx.ModelProto:
    """x [N,3,32,32] -> [N,8], a projection of the pixels."""
    weight = np.random.default_rng(0).standard_normal((3 * 32 * 32, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "W"], ["projected"]),
        helper.make_node("Tanh", ["projected"], ["vector"]),
    ]
    specs = [("x", TensorProto.FLOAT, ["N", 3, 32, 32])], [("vector", TensorProto.FLOAT, ["N", 8])]
    metadata = {"onnxplain.preprocessing": '{"size": 32, "resize": "exact"}', "onnxplain.layout": "embedding"}
    return small.build(nodes, *specs, {"W": weight}, metadata)
