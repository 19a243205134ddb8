"""Text that comes from files: it does nothing to a terminal, a table or a spreadsheet, and loses nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxplain import Explainer, ImageError
from onnxplain.evaluation.output import markdown, write_table
from onnxplain.photos import load_image
from onnxplain.text import csv_cell, json_text, printable, utf8

from support import colour_detectors as colours
from support import small_models as small
from support.command_line import Runner

EVIL = "a\x1b[31m\x07\nonnxplain: error: forged\r\u202egnp.\x9b1m\u2028[/x][red]"
LABELS = (EVIL, "=1+1", "[/x]", "$x^{", "\ud800")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    model = small.quadratic(metadata=small.image_metadata())
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "labels.json").write_text(json.dumps(LABELS), encoding="ascii")
    (tmp_path / "yolo.onnx").write_bytes(colours.yolo("yolov8").SerializeToString())
    Image.fromarray(colours.photo()).save(tmp_path / "photo.png")
    return Runner(tmp_path, monkeypatch, capsys)


def assert_harmless(*texts: str) -> None:
    for text in texts:
        bad = [one for one in text if one != "\n" and (ord(one) < 32 or 127 <= ord(one) < 160 or one in "\u202e\u2028")]
        assert not bad, (bad, text)
        assert not any(line.startswith("onnxplain: error: forged") for line in text.splitlines())


def test_printable() -> None:
    assert printable("tabby, Tabby-Kätzchen 猫 🐈") == "tabby, Tabby-Kätzchen 猫 🐈"
    assert printable("a\x1b[0m\n\x9b\u202e\udcff\x00") == r"a\x1b[0m\n\x9b\u202e\udcff\x00"
    assert json.loads(json_text({"a": [EVIL, "\udcff", 1.5]})) == {"a": [EVIL, "\udcff", 1.5]}
    assert_harmless(json_text([EVIL]))
    assert utf8("ä\udcff") == "ä".encode() + rb"\udcff"
    assert [csv_cell(one) for one in ("=1", "+1", "-1", "@x", "\tx", "a=1", -1.5, None)] == [
        "'=1", "'+1", "'-1", "'@x", "'\tx", "a=1", -1.5, None,
    ]  # fmt: skip


@pytest.mark.parametrize("target", range(5))
def test_labels(run: Runner, target: int) -> None:
    """On the terminal, in JSON, on pictures, in figures, in a report."""
    stated = ("--labels", "labels.json", "-t", str(target))
    code, out, err = run("explain", "model.onnx", "photo.png", *stated, "-o", "out", "-f", "png,json,svg")
    assert (code, len(out.splitlines()), err) == (0, 1, "")
    assert_harmless(out)
    facts = json.loads(Path("out/photo_saliency.json").read_text(encoding="utf-8"))
    assert facts["label"] == LABELS[target]
    more = ("--report", "report.html", "-p", "panel", "-o", "out", "--json")
    code, out, err = run("explain", "model.onnx", "photo.png", *stated, *more)
    assert (code, err, json.loads(out)["results"][0]["label"]) == (0, "", LABELS[target])
    assert_harmless(out)
    code, out, _ = run("visualize-class", "model.onnx", *stated, "-o", "classes", "--steps", "1")
    assert (code, len(out.splitlines())) == (0, 1)
    assert_harmless(out)


def test_labels_of_detections(run: Runner) -> None:
    stated = ("--layout", '{"name": "yolov8", "classes": 3}', "--labels", "three.json", "-o", "boxes")
    Path("three.json").write_text(json.dumps(LABELS[:3]), encoding="ascii")
    code, out, err = run("detect", "yolo.onnx", "photo.png", *stated)
    assert (code, err) == (0, "") and "[/x]" in out
    assert_harmless(out)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_names_of_photos(run: Runner) -> None:
    """A name that is no UTF-8, or holds control codes, costs nobody the report on the folder."""
    Path("photos").mkdir()
    for name in (b"\xff\xfe.png", b"[red].png", b"new\nline\x1b[31m.png", b"=cmd.png"):
        (run.folder / "photos").joinpath(os.fsdecode(name)).write_bytes(Path("photo.png").read_bytes())
    (run.folder / "photos" / "bad\x1b]0;title\x07\nonnxplain: error: forged.png").write_bytes(b"nothing")
    for more in (["-o", "out"], ["-o", "out", "--json"], ["--report", "report.html"], ["-p", "grid", "-o", "out"]):
        code, out, err = run("explain", "model.onnx", "photos", *more)
        assert (code, len(err.splitlines())) == (1, 1) and "this is not a" in err
        assert_harmless(out, err)
        if "--json" in more:
            assert len(json.loads(out)["results"]) == 4
    assert len(Path("report.html").read_bytes()) > 1000
    code, out, err = run("evaluate", "model.onnx", "photos", "-o", "numbers", "--steps", "2")
    assert (code, len(err.splitlines())) == (1, 1), err
    assert_harmless(out, err)
    with Path("numbers/evaluation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())
    assert len(json.loads(Path("numbers/evaluation.json").read_text(encoding="utf-8"))["images"]) == 4


def test_names_of_operators_and_tensors(run: Runner) -> None:
    """``[/x]`` as an operator's name ended ``check`` in a traceback."""
    model = small.quadratic(metadata=small.image_metadata())
    model.opset_import.append(onnx.helper.make_opsetid("[/x]\x1b[31m", 1))
    model.graph.node[-1].domain = "[/x]\x1b[31m"
    model.graph.node[-1].op_type = "[/y]\n\x07"
    model.producer_name = EVIL
    Path("odd.onnx").write_bytes(model.SerializeToString())
    code, out, err = run("check", "odd.onnx")
    assert code == 1 and "[/x]" in out and "[/y]" in out
    assert_harmless(out, err)
    code, out, err = run("check", "odd.onnx", "--json")
    assert code == 1
    assert_harmless(out)


def test_layers_of_a_randomization(run: Runner) -> None:
    model = small.quadratic(metadata=small.image_metadata())
    for number, node in enumerate(model.graph.node):
        node.name = f"[/x]\x1b[1m$x^{{{number}"
    Path("odd.onnx").write_bytes(model.SerializeToString())
    stated = ("-o", "numbers", "--steps", "2", "--randomization")
    code, out, err = run("evaluate", "odd.onnx", "photo.png", *stated)
    assert code == 0 and "[/x]" in out, err
    assert_harmless(out, err)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_narrow_terminals(run: Runner, encoding: str, more: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation ends in its table, also where the terminal has no arrows."""
    labels = json.dumps(["猫", "b", "c", "d", "e"])
    Path("labels.json").write_text(labels, encoding="ascii")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors="strict"))
    arguments = [
        "evaluate",
        "model.onnx",
        "photo.png",
        "-o",
        "out",
        "--steps",
        "2",
        "--labels",
        "labels.json",
        "-t",
        "0",
    ]
    code, _, err = run(*arguments, *more)
    sys.stdout.flush()
    assert (code, err) == (0, "") and b"deletion" in written.getvalue().lower()


def test_tables(tmp_path: Path) -> None:
    rows = [{"image": "=HYPERLINK(1)", "value": -1.5}, {"image": "\udcff", "value": 2}]
    path = write_table(tmp_path / "a.csv", rows, {})
    assert path.read_bytes() == b"image,value\n'=HYPERLINK(1),-1.5\n\\udcff,2\n"
    assert markdown(["a", "b"], [["x|y\n|z", "1"]]).count("\n") == 2


def tiff(damage: bool) -> bytes:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    file = io.BytesIO()
    pixels.save(file, "TIFF", compression="tiff_adobe_deflate")
    data = bytearray(file.getvalue())
    if damage:
        data[len(data) // 2] ^= 0xFF
    return bytes(data)


def test_lines_of_decoders(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """libtiff writes to standard error by itself; that is caught, and what others write is not."""
    from onnxplain.photos import decoders

    (tmp_path / "bad.tif").write_bytes(tiff(damage=True))
    with pytest.raises(ImageError, match="damaged or truncated"):
        load_image(tmp_path / "bad.tif")
    assert capfd.readouterr() == ("", "")
    lines = b"Fax4Decode: Bad code\x1b\nFax4Decode: Again\nonnxplain: error: another thread's\n"
    said = r'a\.tif: its decoder says "Fax4Decode: Bad code\\x1b"; look at the picture'
    with pytest.warns(UserWarning, match=said), decoders.lines_caught("a.tif"):
        os.write(2, lines)
    assert capfd.readouterr().err == "onnxplain: error: another thread's\n"
    with decoders.lines_caught("a.tif"):
        pass
    assert load_image(tiff(damage=False)).shape == (64, 64, 3)


def test_an_explanation_with_half_a_character_is_saved(tmp_path: Path) -> None:
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()), labels=list(LABELS))
    found = explainer.explain(small.picture(), 4)
    paths = found.save(tmp_path / "a.png", "png,json")  # type: ignore[union-attr]
    assert [path.stat().st_size > 100 for path in paths] == [True, True]
