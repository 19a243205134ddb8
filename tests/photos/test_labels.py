"""Class names: every place they come from, and how a word picks one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxplain.errors import InputError, TargetError
from onnxplain.photos import find_label, resolve_labels

PETS = ["tabby, tabby cat", "tiger cat", "Siamese cat, Siamese", "crane", "crane", "pug, pug-dog"]


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("tabby, tabby cat", 0), ("TABBY", 0), (" tabby cat ", 0), ("tiger cat", 1), ("tiger", 1), ("siamese", 2),
        ("pug-dog", 5), ("pug", 5), ("iamese c", 2),
    ],
)  # fmt: skip
def test_find_label(text: str, index: int) -> None:
    assert find_label(PETS, text) == index


def test_find_label_prefers_the_whole_label() -> None:
    assert find_label(["cat food", "cat", "house cat"], "cat") == 1
    assert find_label(["tiger cat", "cat, house cat"], "cat") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crane", r"'crane' fits 2 classes: 3 \(crane\), 4 \(crane\); give the index"),
        ("cat", r"fits 3 classes: 0 \(tabby\), 1 \(tiger cat\), 2 \(Siamese cat\)"),
        ("tabbi", r"no class is called 'tabbi' among 6 labels; close are 0 \(tabby\)"),
        ("zzzzzz", r"no class is called 'zzzzzz' among 6 labels; give a label"),
        ("  ", "empty"),
    ],
)
def test_find_label_refuses(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        find_label(PETS, text)


def test_many_candidates_are_cut_short_whole_words_first() -> None:
    labels = [f"catalogue {i}" for i in range(20)] + ["tiger cat"]
    with pytest.raises(TargetError, match=r"fits 21 classes: 20 \(tiger cat\), 0 .* and 13 more"):
        find_label(labels, "cat")


@given(st.lists(st.text("abcdefg ", min_size=1).filter(str.strip), min_size=1, unique_by=lambda s: s.strip()))
def test_every_unique_label_finds_itself(labels: list[str]) -> None:
    for index, label in enumerate(labels):
        assert find_label(labels, label) == index


@pytest.mark.parametrize(
    "given_labels",
    [
        ["a", "b", "c"],
        ("a", "b", "c"),
        {0: "a", 1: "b", 2: "c"},
        {"2": "c", "0": "a", "1": "b"},
        {"a": 0, "c": 2, "b": 1},
        {"0": ["n01", "a"], "1": ["n02", "b"], "2": ["n03", "c"]},
        {"id2label": {"0": "a", "1": "b", "2": "c"}, "model_type": "vit"},
    ],
    ids=str,
)
def test_what_a_caller_can_give(given_labels: Any, tmp_path: Path) -> None:
    assert resolve_labels(given_labels, classes=3) == ["a", "b", "c"]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(given_labels))
    assert resolve_labels(path) == resolve_labels(str(path)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", "a\nb\nc\n"),
        ("windows.txt", "\ufeffa\r\nb\r\nc"),
        ("numbered.txt", "0 a\n1 b\n2 c"),
        ("colon.txt", "0: a\n1: b\n2: c"),
        ("bare.csv", "a\nb\nc\n"),
        ("pairs.csv", "2,c\n0,a\n1,b\n"),
        ("header.csv", "synset,label,index\nn3,c,2\nn1,a,0\nn2,b,1\n"),
        ("names.csv", "name,colour\na,red\nb,green\nc,blue\n"),
    ],
)
def test_label_files(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    assert resolve_labels(path) == ["a", "b", "c"]


def test_quoted_synonyms_in_csv_and_lines_that_merely_start_with_digits(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('0,"tabby, tabby cat"\n1,"pug, pug-dog"\n')
    assert resolve_labels(path) == ["tabby, tabby cat", "pug, pug-dog"]
    path = tmp_path / "labels.txt"
    path.write_text("10 pounds\n20 pounds\n")
    assert resolve_labels(path) == ["10 pounds", "20 pounds"]


def test_the_order_of_sources(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    assert resolve_labels(metadata={"author": "me"}, model_path=model, classes=2) is None
    assert resolve_labels() is None
    timm = {"label_names": ["n1", "n2"], "label_descriptions": {"n1": "a cat", "n2": "a dog"}}
    (tmp_path / "config.json").write_text(json.dumps(timm))
    assert resolve_labels(model_path=model) == ["a cat", "a dog"]
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "hub0", "1": "hub1"}} | timm))
    assert resolve_labels(model_path=model) == ["hub0", "hub1"]
    (tmp_path / "m.labels.txt").write_text("own0\nown1\n")
    assert resolve_labels(model_path=model) == ["own0", "own1"]
    metadata = {"names": "{0: 'yolo0', 1: 'yolo1'}"}
    assert resolve_labels(metadata=metadata, model_path=model) == ["yolo0", "yolo1"]
    metadata["onnxplain.labels"] = '["a", "b"]'
    assert resolve_labels(metadata=metadata, model_path=model) == ["a", "b"]
    assert resolve_labels(["x", "y"], metadata=metadata, model_path=model) == ["x", "y"]


def test_classes_that_id2label_leaves_out_are_called_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "person", "3": "car"}}))
    assert resolve_labels(model_path=tmp_path / "m.onnx", classes=4) == ["0", "person", "2", "car"]
    with pytest.raises(InputError, match="4 labels, but the model has 5"):
        resolve_labels(model_path=tmp_path / "m.onnx", classes=5)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a", "99999999999": "b"}}))
    with pytest.raises(InputError, match="without gaps"):
        resolve_labels(model_path=tmp_path / "m.onnx")


def test_timm_names_alone_and_hub_folder(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"label_names": ["a", "b"]}))
    assert resolve_labels(model_path=tmp_path / "onnx" / "model.onnx") == ["a", "b"]


def test_wrong_number_names_both() -> None:
    with pytest.raises(InputError, match="the given labels: 2 labels, but the model has 3 classes"):
        resolve_labels(["a", "b"], classes=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "holds no labels"),
        ({}, "holds no labels"),
        (["a", 3], "label 1 is a int"),
        ({"x": "a"}, "keys of labels are class indices"),
        ({0: "a", 2: "b"}, "from 0 to 1 without gaps"),
        (3, "labels are a list or a dict, found int"),
    ],
)
def test_senseless_labels(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve_labels(labels)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.txt", None, "no such file of labels"),
        ("labels.yaml", b"- a", r"not from \.yaml"),
        ("labels.txt", b"", "label"),
        ("labels.txt", b"\xff\xfe\xfa", "UTF-8"),
        ("labels.json", b"{", "not valid JSON"),
        ("labels.json", b'"abc"', "found str"),
        ("labels.csv", b"", "holds no labels"),
        ("labels.csv", b"p,q,r\n1,2,3\n", "name one of them label"),
        ("labels.csv", b"0,a\n1\n", "different lengths"),
        ("labels.csv", b"0,a\n0,b\n", "without gaps"),
    ],
)
def test_damaged_label_files(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        resolve_labels(path)


def test_damaged_metadata_and_config(tmp_path: Path) -> None:
    for metadata in ({"onnxplain.labels": "["}, {"names": "__import__('os')"}):
        with pytest.raises(InputError, match="metadata"):
            resolve_labels(metadata=metadata)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(InputError, match="not valid JSON"):
        resolve_labels(model_path=tmp_path / "m.onnx")
