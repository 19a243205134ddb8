"""``onnxplain explain --again``: maps of records made once more, refusals, hostile files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from support import small_models as small
from support.command_line import Runner


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    model = small.quadratic(ending="Softmax", metadata=small.image_metadata())
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(small.picture()).save(tmp_path / "photo.png")
    return Runner(tmp_path, monkeypatch, capsys)


@pytest.fixture
def recorded(run: Runner) -> Runner:
    asked = ("--method", "smoothgrad", "--set", "samples=2", "-t", "cat", "--versus", "red")
    assert run("explain", "model.onnx", "photo.png", *asked, "-f", "png,json,npy", "-o", "out/a.png").code == 0
    return run


@pytest.mark.parametrize("name", ["a.json", "a.png"])
def test_a_record_makes_the_same_map_again(recorded: Runner, name: str) -> None:
    before = recorded.files()
    named = () if name == "a.json" else ("model.onnx", "photo.png")  # a picture names files without folders
    code, out, err = recorded("explain", "--again", f"out/{name}", *named)
    assert (code, err) == (0, "")
    assert "photo.png: cat rather than red" in out and "the same map, byte for byte" in out
    assert recorded.files() == before


def test_again_writes_what_is_asked_for(recorded: Runner) -> None:
    assert recorded("explain", "--again", "out/a.json", "-o", "b.png").code == 0
    with Image.open("out/a.png") as first, Image.open("b.png") as second:
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    code, _, err = recorded("explain", "--again", "out/a.json", "-o", "photo.png")
    assert code == 1 and "is an input of this command" in err


def test_a_document_has_several_records(run: Runner) -> None:
    Image.fromarray(small.picture(seed=1)).save("second.png")
    document = run("explain", "model.onnx", "photo.png", "second.png", "-t", "top2", "-o", "out", "--json").out
    Path("result.json").write_text(document, encoding="utf-8")
    code, out, _ = run("explain", "--again", "result.json", "--json")
    found = json.loads(out)
    assert code == 0 and [one["same"] for one in found["again"]] == [True] * 4
    assert [one["map"] for one in found["results"]] == [one["map"] for one in json.loads(document)["results"]]


def test_files_that_moved_with_the_record_are_found(recorded: Runner) -> None:
    for name in ("model.onnx", "photo.png"):
        Path(name).rename(f"out/{name}")
    assert recorded("explain", "--again", "out/a.png").code == 0
    Path("out/photo.png").unlink()
    code, _, err = recorded("explain", "--again", "out/a.json")
    assert code == 1 and "photo of the record is not found" in err and "--again RECORD MODEL IMAGE" in err


def test_another_model_or_photo_is_refused(recorded: Runner) -> None:
    other = small.quadratic(ending="Softmax", metadata={**small.image_metadata(), "note": "another"})
    Path("other.onnx").write_bytes(other.SerializeToString())
    Image.fromarray(small.picture(seed=5)).save("other.png")
    facts = json.loads(Path("out/a.json").read_text(encoding="utf-8"))
    code, _, err = recorded("explain", "--again", "out/a.json", "other.onnx")
    assert code == 1 and "other.onnx is not the model of the record" in err and facts["model"]["sha256"] in err
    code, _, err = recorded("explain", "--again", "out/a.json", "model.onnx", "other.png")
    assert code == 1 and "other.png is not the photo of the record" in err and facts["photo"]["sha256"] in err


def change(name: str, edit: Callable[[Any], object]) -> Path:
    record = json.loads(Path(name).read_text(encoding="utf-8"))
    edit(record)
    Path("changed.json").write_text(json.dumps(record), encoding="utf-8")
    return Path("changed.json")


def test_another_map_is_told_by_the_largest_difference(recorded: Runner) -> None:
    record = change("out/a.json", lambda r: r["options"].update(seed=7))
    code, out, _ = recorded("explain", "--again", record, "-f", "npy", "-o", "b.npy", "--json")
    (verdict,) = json.loads(out)["again"]
    assert code == 1 and verdict["same"] is False and verdict["compared"] == "map"
    difference = np.abs(np.load("out/a.npy") - np.load("b.npy")).max()
    assert difference > 0.01 and verdict["largest_difference"] == pytest.approx(difference, abs=1e-6)
    Path("out/a.npy").unlink()
    code, out, _ = recorded("explain", "--again", record)
    assert code == 1 and "another map: the largest difference among the 64 recorded values is" in out


def test_what_changed_is_named(recorded: Runner) -> None:
    def edit(record: Any) -> None:
        record["versions"]["onnxruntime"] = "1.0.0"
        record["map"].update(sha256="0" * 64)

    code, out, _ = recorded("explain", "--again", change("out/a.json", edit))
    assert code == 1 and "changed: onnxruntime 1.0.0 to " in out and "difference" in out


def test_a_record_and_a_question_exclude_each_other(recorded: Runner) -> None:
    for given in (("-t", "dog"), ("-m", "occlusion"), ("--set", "samples=2"), ("--expected", "cat")):
        code, _, err = recorded("explain", "--again", "out/a.json", *given)
        assert code == 1 and "takes the question and the method from the record" in err
    assert recorded("explain", "--again", "out/a.json", "model.onnx", "photo.png", "photo.png").code == 2


def _deep(record: Any) -> None:
    record["question"]["versus"] = {"versus": {"versus": {"of": 1}}}


HOSTILE: dict[str, tuple[Callable[[Any], object], str]] = {
    "schema": (lambda r: r.update(schema="onnxplain/explanation-9"), "this release reads"),
    "no model": (lambda r: r.update(model=None), "does not say 'model'"),
    "list for a part": (lambda r: r.update(photo=[]), "photo of the record is an object"),
    "path": (lambda r: r["model"].update(path=7), "model.path"),
    "NUL in a path": (lambda r: r["model"].update(path="a\0b"), "not found"),
    "a device": (lambda r: r["model"].update(path="/dev/zero"), "not found"),
    "hash": (lambda r: r["photo"].update(sha256="abc"), "photo.sha256"),
    "weights outside": (lambda r: r["model"].update(files={"../secret": "0" * 64}), "a file beside the model"),
    "samples": (lambda r: r["map"].update(samples=[1] * 63), "map.samples"),
    "samples of words": (lambda r: r["map"].update(samples=["1"] * 64), "map.samples"),
    "shape": (lambda r: r["map"].update(shape=[2**40, 1]), "map.shape"),
    "threads": (lambda r: r["loading"].update(threads=10**9), "loading.threads"),
    "truth for a number": (lambda r: r["loading"].update(class_axis=True), "loading.class_axis"),
    "layout": (lambda r: r["loading"].update(layout={"name": "nonsense"}), "layout 'nonsense' is unknown"),
    "method": (lambda r: r.update(method="magic"), "method 'magic' is unknown"),
    "option": (lambda r: r["options"].update(magic=1), "has no option 'magic'"),
    "option that was an array": (lambda r: r["options"].update(noise={"array": {}}), "was an array in memory"),
    "huge option": (lambda r: r["options"].update(samples=10**30), "samples"),
    "preprocessing": (lambda r: r["preprocessing"].update(size=[10**9, 10**9]), "size"),
    "question": (lambda r: r["question"].update(extra=1), "question of the record"),
    "deep question": (_deep, "question of the record"),
    "class": (lambda r: r["question"].update(of=10**6), "out of range"),
    "place": (lambda r: r["question"].update(at=[1, 2, 3]), "question.at of the record"),
    "box": (lambda r: r["question"].update(at={"box": [0, 0, "1", 1]}), "question.at.box"),
    "provider": (lambda r: r.update(provider=3), "provider"),
    "files": (lambda r: r.update(files=[1]), "files"),
    "score": (lambda r: r.update(score=10**400), "score"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_records_are_one_line(recorded: Runner, name: str) -> None:
    edit, message = HOSTILE[name]
    code, _, err = recorded("explain", "--again", change("out/a.json", edit))
    assert code == 1 and message in err and len(err.splitlines()) == 1, err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"results": []}', "holds no record"),
        (b'{"results": 3}', "holds no record"),
        (b"[1]", "is an object"),
        (b'{"schema": NaN}', "NaN is no number"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cannot be read"),
    ],
    ids=["empty", "deep", "no results", "results", "list", "nan", "binary", "png"],
)
def test_files_without_records(run: Runner, content: bytes, message: str) -> None:
    Path("record.json").write_bytes(content)
    code, _, err = run("explain", "--again", "record.json")
    assert code == 1 and message in err and len(err.splitlines()) == 1


def test_pictures_without_records(run: Runner) -> None:
    code, _, err = run("explain", "--again", "photo.png")
    assert code == 1 and "photo.png carries no record" in err
    bomb = PngInfo()
    bomb.add_text("onnxplain", " " * (1 << 26), zip=True)
    Image.fromarray(small.picture()).save("bomb.png", pnginfo=bomb)
    code, _, err = run("explain", "--again", "bomb.png")
    assert code == 1 and "bomb.png cannot be read" in err and len(err.splitlines()) == 1
    assert run("explain", "--again", "missing.json").code == 1
