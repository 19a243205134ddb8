"""The question on the command line: each option is the target that it stands for, and nonsense is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxplain import Box, Explainer, InputError, Target
from onnxplain.cli.questions import kind_of, place_of_text

from support import detectors
from support import small_models as small
from support.command_line import Runner


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    model = small.quadratic(ending="Softmax", metadata=small.image_metadata())
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    for index, name in enumerate(("photo.png", "other.png")):
        Image.fromarray(small.picture(seed=index)).save(tmp_path / name)
    return Runner(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("best", "best"),
        (" own ", "own"),
        ("all", "all"),
        ("7", 7),
        ("-1", -1),
        ("12,30", (12, 30)),
        ("box:1,2,3.5,4", Box(1, 2, 3.5, 4)),
    ],
)
def test_a_place_is_read(text: str, place: object) -> None:
    assert place_of_text(text) == place


def test_a_mask_is_read(tmp_path: Path) -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(place_of_text(str(tmp_path / "mask.png")), mask / np.float32(255))
    colours = np.full((4, 6, 4), 255, np.uint8)
    colours[..., 3] = mask  # white all over, and transparent where the mask is black
    Image.fromarray(colours).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(place_of_text(str(tmp_path / "clear.png")), mask / np.float32(255))
    Image.fromarray(mask * 0).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="black or transparent everywhere"):
        place_of_text(str(tmp_path / "black.png"))


@pytest.mark.parametrize("text", ["3x", "box:1,2,3", "box:5,5,1,1", "1,2,3", "nothing.png", ""])
def test_what_is_no_place_is_one_line(run: Runner, text: str) -> None:
    code, out, err = run("explain", "model.onnx", "photo.png", "--at", text)
    assert code in (1, 2) and out == "" and err.count("\n") == 1, err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--like", "photo.png", "-t", "cat"], "--like takes the place"),
        (["--like", "gone.png"], "gone.png does not exist"),
        (["--layout", "yolo99"], "yolo99"),
        (["--layout", "{"], "no JSON"),
        (["--at", "3"], "no places"),
        (["--versus", "unicorn"], "unicorn"),
        (["--model-output", "gone"], "gone"),
        (["--expected", "cat", "-t", "dog"], "leave out"),
        (["--expected", "gone.csv"], "gone.csv"),
        (["--expected", "unicorn"], "unicorn"),
    ],
)
def test_what_cannot_be_asked_is_one_line(run: Runner, options: list[str], message: str) -> None:
    code, out, err = run("explain", "model.onnx", "photo.png", *options)
    assert code in (1, 2) and out == "" and err.count("\n") == 1 and message in err, err


def facts(run: Runner, *options: str) -> list[dict[str, Any]]:
    code, out, err = run("explain", *options, "--json", "--format", "json")
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)["results"]
    return found


def test_rather_than_another_class(run: Runner) -> None:
    found = facts(run, "model.onnx", "photo.png", "-t", "cat", "-t", "dog", "--versus", "red", "-m", "gradient_x_input")
    assert [(one["label"], one["versus"]) for one in found] == [("cat", "red"), ("dog", "red")]
    expected = Explainer("model.onnx").explain("photo.png", Target("cat", versus="red"), "gradient_x_input")
    assert found[0]["score"] == pytest.approx(expected.score) and expected.title.startswith("cat rather than red (")
    drawn = expected.picture("heatmap")
    np.testing.assert_array_equal(drawn, expected.picture("heatmap", signed=True))
    assert not np.array_equal(drawn, expected.picture("heatmap", signed=False))


def test_similar_to_another_photo(run: Runner) -> None:
    explainer = Explainer("model.onnx")
    [found] = facts(run, "model.onnx", "photo.png", "--like", "other.png")
    assert found["label"] == "similarity" and found["probability"] is None
    a, b = (explainer.embed(name).astype(np.float64) for name in ("photo.png", "other.png"))
    assert found["score"] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), rel=1e-5)


def test_one_of_several_outputs(run: Runner, tmp_path: Path) -> None:
    model = small.quadratic(metadata=small.image_metadata())
    model.graph.node.append(onnx.helper.make_node("Neg", ["logits"], ["negated"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("negated", onnx.TensorProto.FLOAT, ["N", 5]))
    (tmp_path / "two.onnx").write_bytes(model.SerializeToString())
    first, second = (
        facts(run, "two.onnx", "photo.png", "-t", "1", "--model-output", name)[0] for name in ("logits", "negated")
    )
    assert first["score"] == pytest.approx(-second["score"])


def test_a_detector_by_its_layout(run: Runner, tmp_path: Path) -> None:
    model = detectors.FAMILIES["yolov8"].build()
    (tmp_path / "yolo.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(small.picture(16, 16)).save("square.png")
    Path("unit.json").write_text('{"resize": "exact", "size": 16}')
    stated = ["yolo.onnx", "square.png", "--preprocessing", "unit.json", "--layout", "yolov8"]
    [best], [everywhere] = (facts(run, *stated, "-t", "1", "--at", at) for at in ("best", "all"))
    assert best["target"] == everywhere["target"] == 1 and best["score"] != everywhere["score"]
    asked = Explainer("yolo.onnx", layout="yolov8", preprocessing="unit.json")
    assert best["score"] == pytest.approx(asked.explain("square.png", Target(1, at="best")).score)
    sides = ",".join(str(best["box"][side]) for side in ("x0", "y0", "x1", "y1"))
    [same] = facts(run, *stated, "-t", "1", "--at", f"box:{sides}")
    assert same["box"] == best["box"] and same["score"] == best["score"]


def test_predicted_and_expected(run: Runner) -> None:
    explainer = Explainer("model.onnx")
    predicted = explainer.explain("photo.png").name
    other = next(name for name in ("red", "green") if name != predicted)
    code, out, err = run("explain", "model.onnx", "photo.png", "--expected", other, "-o", "panel.png")
    assert (code, err) == (0, "")
    assert f"predicted: {predicted} (" in out and f"expected: {other} (" in out and "panel.png" in out
    with Image.open("panel.png") as panel:
        assert panel.width > 3 * panel.height
    code, out, _ = run("explain", "model.onnx", "photo.png", "--expected", predicted, "--json")
    [found] = json.loads(out)["results"]
    assert code == 0 and not found["mistake"]


def test_the_report_of_all_mistakes(run: Runner) -> None:
    predicted = {name: Explainer("model.onnx").explain(name).name for name in ("photo.png", "other.png")}
    wrong = next(name for name in ("red", "green", "blue") if name not in predicted.values())
    Path("classes.csv").write_text(f"photo,class\nphoto.png,{predicted['photo.png']}\nother.png,{wrong}\n")
    code, out, err = run("explain", "model.onnx", "photo.png", "other.png", "--expected", "classes.csv")
    assert (code, err) == (0, "") and "1 of 2 photos mistaken -> mistakes.html" in out
    page = Path("mistakes.html").read_text(encoding="utf-8")
    assert page.count('<li class="card') == 1 and "other.png" in page and f"expected: {wrong}" in page
    assert f"predicted: {predicted['other.png']}" in page and "rather than" in page


def test_folders_named_by_class(run: Runner) -> None:
    wrong = next(name for name in ("red", "green", "blue") if name != Explainer("model.onnx").explain("photo.png").name)
    Path("all", wrong).mkdir(parents=True)
    Path("photo.png").rename(Path("all", wrong, "photo.png"))
    Path("other.png").rename(Path("all", wrong, "other.png"))
    code, out, err = run("explain", "model.onnx", "all", "--expected", "folders", "-o", "out", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert len(found["results"]) == 2 and found["files"] == ["out/mistakes.html"]
    assert found["results"][1]["mistake"] and Path("out/mistakes.html").is_file()


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        (["--versus"], ["x", "target", "contrast"]),
        (["--like"], ["x", "reference"]),
        (["--like", "--versus"], ["x", "reference", "contrast_reference"]),
    ],
)
def test_differentiate_for_a_question(run: Runner, options: list[str], inputs: list[str]) -> None:
    code, _, err = run("differentiate", "model.onnx", "-o", "made.onnx", *options)
    assert (code, err) == (0, "")
    assert [one.name for one in onnx.load("made.onnx").graph.input] == inputs


def test_differentiate_a_detector(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "yolo.onnx").write_bytes(detectors.FAMILIES["yolov8"].build().SerializeToString())
    for options, last in ((["--at", "box"], "box"), (["--at", "position", "--target", "box.width"], "position")):
        code, _, err = run("differentiate", "yolo.onnx", "-o", "made.onnx", "--layout", "yolov8", *options)
        assert (code, err) == (0, "")
        assert [one.name for one in onnx.load("made.onnx").graph.input][-1] == last


def test_kinds_that_contradict_each_other() -> None:
    assert kind_of("cotangent", None, False, False) == "cotangent"
    with pytest.raises(InputError, match="takes the place"):
        kind_of("cotangent", "best", False, False)
    with pytest.raises(InputError, match="no kind of place"):
        kind_of(None, "here", False, False)
