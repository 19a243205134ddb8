"""What is made of shards later: explanations, pictures, the report, FiftyOne's dataset."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onnxplain
from onnxplain import ImageError, InputError
from onnxplain.bulk import explanations

from support import bulk as made
from support.command_line import Runner

pytest.importorskip("pyarrow")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    made.write_model(tmp_path)
    made.write_photos(tmp_path / "photos", 3)
    runner = Runner(tmp_path, monkeypatch, capsys)
    assert runner("bulk", "model.onnx", "photos", "-o", "maps", "--shard-size", 2).code == 0
    return runner


def test_explanations_of_shards_draw_what_those_of_the_model_draw(run: Runner) -> None:
    Path("model.onnx").unlink()
    found = list(explanations("maps"))
    run.folder.joinpath("again.onnx").write_bytes(made.write_model(run.folder).read_bytes())
    exact = onnxplain.Explainer("again.onnx").explain("photos")
    assert len(found) == 3
    for one, other in zip(found, exact):
        assert (one.title, one.target, one.geometry) == (other.title, other.target, other.geometry)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_allclose(one.saliency, other.saliency, atol=1e-3)
        assert int(np.abs(one.overlay().astype(int) - other.overlay()).max()) <= 2


def test_photos_that_moved_or_changed_are_said(run: Runner) -> None:
    shutil.move("photos", "moved")
    with pytest.raises(ImageError, match=r"0000\.png: cannot be read: No such file"):
        next(explanations("maps"))
    assert len(list(explanations("maps", root="moved"))) == 3
    Path("moved/0001.png").write_bytes(made.png(9))
    failed: list[str] = []
    left = list(explanations("maps", root="moved", on_error=lambda name, error: failed.append(f"{name}: {error}")))
    assert [one.source for one in left] == ["0000.png", "0002.png"]
    assert failed == ["0001.png: 0001.png: the photo has changed since its map was made."]


def test_what_is_no_shard_is_refused(run: Runner) -> None:
    with pytest.raises(InputError, match="holds no shards"):
        next(explanations("photos"))
    Path("photos/maps-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="is no shard"):
        next(explanations("photos"))


def test_pictures_and_a_report_are_written_from_finished_shards(run: Runner) -> None:
    code, out, err = run("bulk", "model.onnx", "photos", "-o", "maps", "--shard-size", 2, "--resume", "-f", "png,html")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "maps: 3 photos in 2 shards (2 were there), 0 errors",
        "maps/pictures",
        "maps/report.html",
    ]
    assert {f"maps/pictures/00000{n}_000{n}_saliency.png" for n in range(3)} < run.files()
    assert Path("maps/report.html").read_text().count('<li class="card') == 3
    with Image.open("maps/pictures/000001_0001_saliency.png") as picture:
        assert picture.size == (16, 12)


def test_names_from_a_tar_do_not_lead_pictures_out_of_their_folder(run: Runner) -> None:
    made.write_tar(Path("a.tar"), {"../../../up.png": made.png(0), "/etc/absolute.png": made.png(1)})
    before = run.files()
    assert run("bulk", "model.onnx", "a.tar", "-o", "tarred", "-f", "png").code == 0
    assert run.files() - before == {
        "tarred/maps-00000.parquet",
        "tarred/run.json",
        "tarred/pictures/000000_up_saliency.png",
        "tarred/pictures/000001_absolute_saliency.png",
    }


def test_fiftyone_gets_heat_maps_named_by_content_over_the_whole_photo(run: Runner) -> None:
    command = ("bulk", "model.onnx", "photos", "-o", "maps2", "-t", "top2", "-f", "fiftyone")
    assert run(*command).code == 0
    document = json.loads(Path("maps2/fiftyone/dataset.json").read_text())
    assert (document["name"], document["media_type"], len(document["samples"])) == ("maps2", "image", 3)
    heatmap = "fiftyone.core.fields.EmbeddedDocumentField(fiftyone.core.labels.Heatmap)"
    assert document["sample_fields"]["saliency"] == document["sample_fields"]["saliency_2"] == heatmap
    best = onnxplain.Explainer("model.onnx").explain("photos", "top2")
    for sample, pair in zip(document["samples"], best):
        assert Path(sample["filepath"]) == Path(pair[0].source).resolve()
        for number, one in zip(("", "_2"), pair):
            drawn = sample[f"saliency{number}"]
            file = Path(drawn["map_path"])
            assert (drawn["_cls"], drawn["range"], file.is_absolute()) == ("Heatmap", [0, 255], True)
            assert file.stem == hashlib.sha256(file.read_bytes()).hexdigest()[:32]
            with Image.open(file) as picture:
                np.testing.assert_allclose(np.asarray(picture) / 255, one.saliency, atol=0.003)
            assert sample[f"explained{number}"]["label"] == one.label
            assert sample[f"score{number}"] == pytest.approx(one.score, rel=1e-6)


def test_fiftyone_is_refused_for_photos_in_tars(run: Runner) -> None:
    made.write_tar(Path("a.tar"), {"0.png": made.png(0)})
    code, _, err = run("bulk", "model.onnx", "a.tar", "-o", "tarred", "-f", "fiftyone")
    assert code == 1 and "lies in a tar" in err
    assert not Path("tarred/fiftyone/dataset.json").exists()
    code, _, err = run("bulk", "model.onnx", "photos", "-o", "other", "-f", "svg")
    assert code == 1 and "'svg' is unknown; there are png, html, fiftyone" in err
