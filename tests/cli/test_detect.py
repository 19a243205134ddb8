"""``onnxplain detect``: the table, the JSON, the pictures, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxplain import Explainer

from support import colour_detectors as colours
from support import small_models as small
from support.command_line import Runner


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    (tmp_path / "yolo.onnx").write_bytes(colours.yolo("yolov8").SerializeToString())
    (tmp_path / "classifier.onnx").write_bytes(small.quadratic(metadata=small.image_metadata()).SerializeToString())
    Image.fromarray(colours.photo()).save(tmp_path / "photo.png")
    return Runner(tmp_path, monkeypatch, capsys)


def test_a_table_of_what_is_found(run: Runner) -> None:
    code, out, err = run("detect", "yolo.onnx", "photo.png", "--layout", "yolov8", "--threshold", 0.75)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "photo.png: 2 detections"
    rows = [line for line in lines if "%" in line]
    assert "blue" in rows[0] and "red" in rows[1] and "131.2" in rows[0] and len(rows) == 2
    assert run.files() == {"yolo.onnx", "classifier.onnx", "photo.png"}
    assert run("detect", "yolo.onnx", "photo.png", "--layout", "yolov8", "--quiet") == (0, "", "")
    code, out, _ = run("detect", "yolo.onnx", "photo.png", "--layout", "yolov8", "--threshold", 1)
    assert (code, out) == (0, "photo.png: no detections\n")


def test_json_holds_the_detections(run: Runner) -> None:
    layout = '{"name": "yolov8", "classes": 3}'
    Path("names.txt").write_text("rouge\nvert\nbleu\n", encoding="utf-8")
    labels = ("--labels", "names.txt")
    code, out, err = run("detect", "yolo.onnx", "photo.png", "--json", "--layout", layout, *labels, "--limit", 2)
    found = json.loads(out)
    assert (code, err, found["errors"], found["model"]) == (0, "", [], "yolo.onnx")
    expected = Explainer("yolo.onnx", layout="yolov8", labels=["rouge", "vert", "bleu"]).detect("photo.png", limit=2)
    assert found["results"] == [{"source": "photo.png", "detections": [one.to_dict() for one in expected], "files": []}]


def test_pictures_with_boxes(run: Runner) -> None:
    Path("more").mkdir()
    Image.fromarray(colours.photo()[:, ::-1]).save("more/photo.png")
    stated = ("--layout", "yolov8", "--threshold", "0.75")
    code, out, _ = run("detect", "yolo.onnx", "photo.png", "more", "-o", "out", *stated)
    made = {"out/photo_detections.png", "out/photo_2_detections.png"}
    assert code == 0 and made <= run.files() and "2 detections -> out/photo_detections.png" in out
    box = Explainer("yolo.onnx", layout="yolov8").detect("photo.png")[0].box
    with Image.open("out/photo_detections.png") as opened:
        drawn = np.asarray(opened)
    assert drawn.shape == (200, 300, 3) and (drawn[120, round(box.x0)] == 255).all()
    assert run("detect", "yolo.onnx", "photo.png", "-o", "one.jpg", *stated).code == 0 and "one.jpg" in run.files()
    for wrong, code, message in (
        (("photo.png", "more", "-o", "one.jpg"), 2, "names the file"),
        (("photo.png", "-o", "photo.png"), 1, "would be overwritten"),
        (("photo.png", "-o", "a.gif"), 1, "pictures are written as"),
    ):
        found = run("detect", "yolo.onnx", *wrong, *stated)
        assert found.code == code and message in " ".join(found.err.replace("│", " ").split())


def test_what_is_refused(run: Runner) -> None:
    assert run("detect").code == 2
    assert run("detect", "photo.png").code == 2
    for arguments, message in (
        (("classifier.onnx", "photo.png"), "nothing says that the output of the model holds detections"),
        (
            ("yolo.onnx", "photo.png"),
            "320 classes; give one for each. If the output is a detector's, state its",
        ),
        (("yolo.onnx", "photo.png", "--layout", "yolo"), "layout 'yolo' is unknown"),
        (("yolo.onnx", "photo.png", "--layout", "yolov8", "--threshold", "2"), "threshold is 2"),
        (("nothing.onnx", "photo.png"), "nothing.onnx"),
    ):
        code, out, err = run("detect", *arguments)
        assert (code, out) == (1, "") and message in err and err.count("\n") == 1


def test_a_photo_that_cannot_be_read_is_reported_and_left_out(run: Runner) -> None:
    Path("broken.png").write_bytes(b"no picture")
    code, out, err = run("detect", "yolo.onnx", "broken.png", "photo.png", "--layout", "yolov8", "--json")
    found = json.loads(out)
    assert code == 1 and "broken.png" in err
    assert [one["source"] for one in found["results"]] == ["photo.png"]
    assert found["errors"][0]["image"] == "broken.png"
