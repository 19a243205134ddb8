"""``onnxplain bulk``: shards, what they hold, and going on with a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import onnxplain
from onnxplain.bulk.shards import read_rows
from onnxplain.files import write_bytes

from support import bulk as made
from support.command_line import Runner

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    made.write_model(tmp_path)
    made.write_photos(tmp_path / "photos", 7)
    return Runner(tmp_path, monkeypatch, capsys)


def test_a_folder_becomes_shards_with_the_maps_of_explain(run: Runner) -> None:
    code, out, err = run("bulk", "model.onnx", "photos", "-o", "maps", "--shard-size", 3)
    assert (code, err) == (0, "")
    assert out == "maps: 7 photos in 3 shards, 0 errors\n"
    assert {f"maps/maps-0000{number}.parquet" for number in range(3)} | {"maps/run.json"} < run.files()
    explained = onnxplain.Explainer("model.onnx").explain("photos")
    found = made.rows(Path("maps"))
    assert [row["index"] for row in found] == list(range(7))
    for row, one in zip(found, explained):
        assert row["id"] == Path(one.source).name
        assert (row["target"], row["label"], row["height"], row["width"]) == (one.target, one.label, 12, 16)
        assert (row["h"], row["w"], row["method"], row["error"]) == (4, 4, "saliency", None)
        assert row["score"] == pytest.approx(one.score, rel=1e-6)
        assert row["probability"] == pytest.approx(one.probability, rel=1e-6)
        np.testing.assert_allclose(np.reshape(row["map"], (4, 4)), one.saliency_input, atol=1e-3)


@pytest.mark.parametrize(("kind", "step"), [("float16", 2**-11), ("uint8", 0.5 / 255)])
def test_maps_keep_their_shape_in_the_schema(run: Runner, kind: str, step: float) -> None:
    assert run("bulk", "model.onnx", "photos", "-o", "maps", "--maps", kind).code == 0
    type_ = parquet.read_schema("maps/maps-00000.parquet").field("map").type
    assert (type_.extension_name, list(type_.shape)) == ("arrow.fixed_shape_tensor", [4, 4])
    assert str(type_.value_type) == {"float16": "halffloat", "uint8": "uint8"}[kind]
    maps = parquet.read_table("maps/maps-00000.parquet").column("map").combine_chunks().to_numpy_ndarray()
    exact = [one.saliency_input for one in onnxplain.Explainer("model.onnx").explain("photos")]
    np.testing.assert_allclose(maps / (255 if kind == "uint8" else 1), exact, atol=step)


@pytest.mark.parametrize("facts", [b"[1]", b"null", b"[" * 100_000], ids=["list", "null", "deep"])
def test_a_shard_with_other_facts_is_none_of_ours(run: Runner, facts: bytes) -> None:
    assert run("bulk", "model.onnx", "photos", "-o", "maps").code == 0
    place, before = Path("maps/maps-00000.parquet"), made.rows(Path("maps"))
    table = parquet.read_table(place)
    parquet.write_table(table.replace_schema_metadata({b"onnxplain": facts}), place)
    with pytest.raises(onnxplain.InputError, match="is no shard of onnxplain bulk"):
        list(read_rows(place))
    assert run("bulk", "model.onnx", "photos", "-o", "maps", "--resume").code == 0
    assert made.rows(Path("maps")) == before
    Path("maps/run.json").write_bytes(b"[" * 100_000)
    code, _, err = run("bulk", "model.onnx", "photos", "-o", "maps", "--resume")
    assert code == 1 and "run.json cannot be read" in err and "Traceback" not in err


def test_a_photo_that_fails_is_a_row_with_an_error(run: Runner) -> None:
    Path("photos/0002.png").write_bytes(b"no picture")
    Path("photos/0004.png").write_bytes(b"")
    code, out, err = run("bulk", "model.onnx", "photos", "-o", "maps")
    assert code == 3
    assert out == "maps: 7 photos in 1 shard, 2 errors\n"
    assert [line.split(":")[2] for line in err.splitlines()] == [" 0002.png", " 0004.png"]
    found = made.rows(Path("maps"))
    assert [row["index"] for row in found if row["error"]] == [2, 4]
    assert not np.any(found[2]["map"]) and found[2]["label"] is None and found[2]["photo_sha256"]
    table = parquet.read_table("maps/maps-00000.parquet")  # null in fixed lists cannot be read by pyarrow 23
    assert table["map"].null_count == 0 and str(table.schema.field("box").type).startswith("list<")
    assert [row.map is None for _, row in read_rows(Path("maps/maps-00000.parquet"))] == [
        row["error"] is not None for row in found
    ]
    assert "not a JPEG" in found[2]["error"] and "empty" in found[4]["error"]
    assert all(row["map"] is not None for row in found if not row["error"])


def test_max_errors_stops_and_a_resumed_run_goes_on(run: Runner) -> None:
    for name in ("0002", "0004", "0005"):
        Path(f"photos/{name}.png").write_bytes(b"no picture")
    code, out, err = run("bulk", "model.onnx", "photos", "-o", "maps", "--max-errors", 2, "--shard-size", 2)
    assert (code, out) == (1, "")
    assert "stopped after 3 errors (--max-errors 2)" in err.splitlines()[-1]
    assert {"maps/maps-00000.parquet", "maps/maps-00001.parquet", "maps/run.json"} == {
        file for file in run.files() if file.startswith("maps/")
    }
    code, out, _ = run("bulk", "model.onnx", "photos", "-o", "maps", "--shard-size", 2, "--resume")
    assert (code, out) == (3, "maps: 7 photos in 4 shards (2 were there), 3 errors\n")


def test_top_classes_are_rows_of_one_photo(run: Runner) -> None:
    assert run("bulk", "model.onnx", "photos", "-o", "maps", "-t", "top2").code == 0
    found = made.rows(Path("maps"))
    assert [(row["index"], row["rank"]) for row in found] == [(index, rank) for index in range(7) for rank in (1, 2)]
    best = onnxplain.Explainer("model.onnx").explain("photos", "top2")
    assert [row["target"] for row in found] == [one.target for pair in best for one in pair]


def test_resume_writes_what_is_missing_alone(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("bulk", "model.onnx", "photos", "-o", "maps", "--shard-size", 3)
    assert run(*command).code == 0
    before, files = made.rows(Path("maps")), sorted(Path("maps").glob("*.parquet"))
    bytes_of = {file: file.read_bytes() for file in files}
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:500])
    Path("maps/.0123456789abcdef.part").write_bytes(b"half")
    monkeypatch.setattr("onnxplain.files._SWEPT", set())  # as in another process
    kept = files[0].stat().st_mtime_ns
    code, out, _ = run(*command, "--resume")
    assert (code, out) == (0, "maps: 7 photos in 3 shards (1 were there), 0 errors\n")
    assert files[0].stat().st_mtime_ns == kept
    assert made.rows(Path("maps")) == before
    assert {file: file.read_bytes() for file in files} == bytes_of
    assert not list(Path("maps").glob(".*.part"))


def test_a_folder_with_a_run_is_refused_without_resume(run: Runner) -> None:
    assert run("bulk", "model.onnx", "photos", "-o", "maps").code == 0
    code, _, err = run("bulk", "model.onnx", "photos", "-o", "maps")
    assert code == 1 and "holds a run already; continue it with --resume" in err
    Path("other").mkdir()
    write_bytes("other/own.parquet", b"mine")
    code, _, err = run("bulk", "model.onnx", "photos", "-o", "other", "--resume")
    assert code == 1 and "holds Parquet files and no run.json" in err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--method", "gradient_x_input"), "method is"),
        (("--method", "smoothgrad", "--set", "samples=3"), "method is"),
        (("--target", "1"), "target is"),
        (("--maps", "uint8"), "map is"),
        (("--shard-size", "2"), "shard_size is"),
        (("--score", "probability"), "model_options is"),
        (("--preprocessing", '{"other": 1}'), "preprocessing"),
    ],
)
def test_resume_refuses_another_run(run: Runner, options: tuple[str, ...], reason: str) -> None:
    assert run("bulk", "model.onnx", "photos", "-o", "maps").code == 0
    before = {file: Path(file).read_bytes() for file in run.files() if file.startswith("maps/")}
    if options[0] == "--preprocessing":
        stated = json.loads(Path("maps/run.json").read_text())["preprocessing"]
        Path("other.json").write_text(json.dumps({**stated, "invert": True}))
        options = ("--preprocessing", "other.json")
    code, _, err = run("bulk", "model.onnx", "photos", "-o", "maps", "--resume", *options)
    assert code == 1 and reason in err and "Repeat its options" in err
    assert {file: Path(file).read_bytes() for file in before} == before


def test_resume_refuses_another_model_and_other_photos(run: Runner) -> None:
    assert run("bulk", "model.onnx", "photos", "-o", "maps").code == 0
    Path("model.onnx").rename("moved.onnx")
    assert run("bulk", "moved.onnx", "photos", "-o", "maps", "--resume").code == 0
    made.write_photos(Path("photos"), 8)
    code, _, err = run("bulk", "moved.onnx", "photos", "-o", "maps", "--resume")
    assert code == 1 and "photos is 8 and was 7" in err
    Path("photos/0007.png").unlink()
    content = bytearray(Path("moved.onnx").read_bytes())
    Path("moved.onnx").write_bytes(content + b"\x72\x02\x0a\x00")  # an empty entry of metadata
    code, _, err = run("bulk", "moved.onnx", "photos", "-o", "maps", "--resume")
    assert code == 1 and "model_sha256 is" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("photos", "--method", "saliency,occlusion"), "one method for a folder"),
        (("photos", "-t", "0", "-t", "1"), "one question for a folder"),
        (("photos", "--maps", "float32"), "--maps is float16 or uint8"),
        (("photos", "--shard-size", "0"), "--shard-size"),
        (("photos", "--max-errors", "-1"), "--max-errors"),
        (("photos", "-t", "unicorn"), "unicorn"),
        (("photos", "--target-column", "cls"), "a folder of photos states no targets"),
        (("photos", "--root", "maps"), "does not lie in"),
        (("model.onnx",), "is no source"),
    ],
)
def test_what_makes_no_sense_is_one_line(run: Runner, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run("bulk", "model.onnx", *arguments, "-o", "maps")
    assert (code, out) == (1, "")
    assert message in err and err.count("\n") == 1
    assert not list(run.folder.glob("maps/*.parquet"))


def test_json_is_one_document(run: Runner) -> None:
    code, out, err = run("bulk", "model.onnx", "photos", "-o", "maps", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert (document["photos"], document["rows"], document["errors"], document["shards"]) == (7, 7, 0, 1)
