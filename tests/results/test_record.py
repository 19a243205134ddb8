"""Records of explanations: the schema that they follow, and what they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from PIL import Image

import onnxplain
from onnxplain import Box, Explainer, Explanation, InputError, Target
from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.results.record import question_of, read_question

from support import REPOSITORY
from support import small_models as small
from support.command_line import Runner

SCHEMA = json.loads((REPOSITORY / "docs" / "schemas" / "explanation-1.json").read_text(encoding="utf-8"))


def check(record: Any, part: str = "explanation") -> Any:
    """Return a record as JSON gives it back, after it was found to follow the schema."""
    read = json.loads(json.dumps(record, allow_nan=False))
    validator = jsonschema.Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{part}"})
    assert [f"{list(one.path)}: {one.message}" for one in validator.iter_errors(read)] == []
    return read


@pytest.fixture(scope="module")
def cat() -> Explanation:
    found = Explainer(threads=1).explain(bundled_photo(), method="smoothgrad", samples=2, seed=3)
    assert isinstance(found, Explanation)
    return found


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(AssertionError, match="'schema' is a required property"):
        check({})


def test_a_record_says_what_the_map_was_made_of(cat: Explanation) -> None:
    record = check(cat.to_dict())
    assert record["schema"] == SCHEMA["$id"] == "onnxplain/explanation-1"
    assert record["model"] == {
        "path": str(bundled_model()),
        "sha256": hashlib.sha256(bundled_model().read_bytes()).hexdigest(),
        "files": {},
    }
    photo = record["photo"]
    assert photo["path"] == str(bundled_photo())
    assert photo["sha256"] == hashlib.sha256(bundled_photo().read_bytes()).hexdigest()
    assert photo["pixels_sha256"] == hashlib.sha256(cat.image.tobytes()).hexdigest()
    assert record["options"]["samples"] == 2 and record["options"]["seed"] == 3
    assert record["question"] == {**EMPTY, "of": cat.target}
    assert record["form"] == "cpu" and record["loading"]["threads"] == 1 and record["loading"]["score"] == "logit"
    assert record["versions"]["onnxplain"] == onnxplain.__version__ and record["versions"]["numpy"] == np.__version__
    assert onnxplain.photos.Preprocessing.from_dict(record["preprocessing"]).crop == 224


def test_a_record_has_the_hash_of_the_map_and_some_of_its_values(cat: Explanation) -> None:
    facts = cat.to_dict()["map"]
    assert facts["shape"] == [224, 224]
    assert facts["sha256"] == hashlib.sha256(cat.saliency_input.astype("<f4").tobytes()).hexdigest()
    assert facts["samples"][9] == cat.saliency_input[14 + 28, 14 + 28] and len(set(facts["samples"])) > 30


def test_pictures_carry_the_record_without_folders(cat: Explanation, tmp_path: Path) -> None:
    paths = cat.save(tmp_path, "png,json")
    with Image.open(paths[0]) as image:
        inside = check(json.loads(image.text["onnxplain"]))  # type: ignore[attr-defined]
    beside = check(json.loads(paths[1].read_text(encoding="utf-8")))
    assert beside["files"] == [str(path) for path in paths] and inside["files"] == [path.name for path in paths]
    assert inside["photo"]["path"] == inside["source"] == "chelsea.jpg" and "/" not in inside["model"]["path"]
    assert inside["map"] == beside["map"] == cat.to_dict()["map"] and inside["photo"]["sha256"]


EMPTY = dict.fromkeys(("of", "at", "versus", "like", "weights", "output"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [(Target(3, versus=1), {"versus": 1}), (Target(3, versus=Target(1)), {"versus": {**EMPTY, "of": 1}})],
    ids=["class", "target"],
)
def test_the_question_is_recorded(target: Target, expected: dict[str, Any]) -> None:
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()))
    record = check(explainer.explain(small.picture(), target).to_dict())
    assert record["question"] == {**EMPTY, "of": 3, **expected}
    assert record["model"]["path"] is None and len(record["model"]["sha256"]) == 64
    assert record["photo"]["path"] is None and record["photo"]["sha256"] is None


def test_each_of_several_targets_has_its_own_question() -> None:
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()))
    found = explainer.explain(small.picture(), "top2")
    assert [one.to_dict()["question"]["of"] for one in found] == [one.target for one in found]  # type: ignore[attr-defined]
    asked = [Target(2), Target(0, versus=1)]
    records = [one.to_dict() for one in explainer.explain(small.picture(), asked)]  # type: ignore[attr-defined]
    assert [(one["question"]["of"], one["question"]["versus"]) for one in records] == [(2, None), (0, 1)]


def test_files_of_weights_are_recorded(tmp_path: Path) -> None:
    model = small.quadratic(metadata=small.image_metadata())
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    for cache in (False, True):
        explainer = Explainer(path, cache=tmp_path / "cache" if cache else False)
        facts = check(explainer.explain(small.picture()).to_dict())["model"]
        digest = hashlib.sha256((tmp_path / "weights.bin").read_bytes()).hexdigest()
        assert facts["path"] == str(path) and facts["files"] == {"weights.bin": digest}


def test_the_command_prints_a_document_of_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "model.onnx").write_bytes(small.quadratic(metadata=small.image_metadata()).SerializeToString())
    Image.fromarray(small.picture()).save(tmp_path / "photo.png")
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    run = Runner(tmp_path, monkeypatch, capsys)
    code, out, _ = run("explain", "model.onnx", "photo.png", "bad.jpg", "-t", "top2", "-o", "out", "--json")
    document = check(json.loads(out), "document")
    assert code == 1 and [one["image"] for one in document["errors"]] == ["bad.jpg"]
    assert [one["files"] for one in document["results"]] == [[f"out/photo_saliency_{n}.png"] for n in (1, 2)]
    assert {one["model"]["path"] for one in document["results"]} == {"model.onnx"}


PLACES = [None, "best", 7, -1, (3, 4), Box(1, 2, 3.5, 4)]


@pytest.mark.parametrize("at", PLACES, ids=str)
def test_questions_are_read_back(at: Any) -> None:
    asked = Target("cat", at=at, versus=Target("dog", at=at), output="logits")
    made = question_of(asked, 3, {"dog": 5}.__getitem__)
    validator = jsonschema.Draft202012Validator({**SCHEMA, "$ref": "#/$defs/question"})
    validator.validate(json.loads(json.dumps(made)))
    read = read_question(json.loads(json.dumps(made)))
    assert (read.of, read.at, read.output) == (3, at, "logits")
    assert isinstance(read.versus, Target) and (read.versus.of, read.versus.at) == (5, at)


def test_a_question_has_the_hash_of_a_mask_alone() -> None:
    made = question_of(Target(2, at=np.ones((8, 9), np.float32)), 2, int)
    assert made["at"]["array"]["shape"] == [8, 9] and len(made["at"]["array"]["sha256"]) == 64
    with pytest.raises(InputError, match="place of the target was an array in memory"):
        read_question(made)
    assert read_question(question_of(Target(like=[1.0, 2.0]), 0, int)).like.tolist() == [1, 2]  # type: ignore[union-attr]
    assert read_question(question_of(Target("box.width"), 0, int)).of == "box.width"
