"""Rows of features and sequences of tokens explained: numbers, names, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

import onnxplain
from onnxplain import Explainer, InputError, OutputError, TableExplanation, TokenExplanation

from producers.fixture import load
from support import small_models as small

WEIGHT = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
EMBEDDING = np.random.default_rng(6).standard_normal((7, 3)).astype(np.float32)
ROWS = np.random.default_rng(7).standard_normal((5, 4)).astype(np.float32)


class Frame:
    """As much of a data frame as counts."""

    def __init__(self, **columns: Any) -> None:
        self._columns = columns
        self.columns = list(columns)

    def to_numpy(self) -> np.ndarray:
        return np.stack([np.asarray(column) for column in self._columns.values()], axis=1)

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]


def linear(ending: str | None = "Softmax") -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"])]
    nodes += [helper.make_node(ending, ["y"], ["p"], axis=1)] if ending else []
    output = "p" if ending else "y"
    return small.build(nodes, [("x", small.FLOAT, ["N", 4])], [(output, small.FLOAT, ["N", 3])], {"W": WEIGHT})


def text(mask: bool = False) -> onnx.ModelProto:
    """ids [N,T] -> the sum of the tokens' embeddings [N,3], of the tokens whose mask is 1."""
    nodes = [helper.make_node("Gather", ["E", "ids"], ["vectors"])]
    if mask:
        nodes += [
            helper.make_node("Cast", ["mask"], ["seen"], to=small.FLOAT),
            helper.make_node("Unsqueeze", ["seen", "last"], ["column"]),
            helper.make_node("Mul", ["vectors", "column"], ["kept"]),
        ]
    nodes.append(helper.make_node("ReduceSum", ["kept" if mask else "vectors", "one"], ["y"], keepdims=0))
    integers = onnx.TensorProto.INT64
    inputs: list[small.Spec] = [("ids", integers, ["N", "T"])] + ([("mask", integers, ["N", "T"])] if mask else [])
    constants = {"E": EMBEDDING, "one": np.array([1]), "last": np.array([2])}
    return small.build(nodes, inputs, [("y", small.FLOAT, ["N", 3])], constants)


@pytest.fixture(scope="module")
def table() -> Explainer:
    return Explainer(linear(), labels=["red", "green", "blue"])


def test_rows_are_explained_by_what_they_lose_without_each_feature(table: Explainer) -> None:
    background = np.random.default_rng(8).standard_normal((20, 4))
    found = table.explain_table(ROWS, ["a", "b", "c", "d"], "green", background=background)
    assert [type(one) for one in found] == [TableExplanation] * 5
    expected = (ROWS - background.mean(axis=0)) * WEIGHT[:, 1]
    np.testing.assert_allclose([one.attribution for one in found], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal([one.values for one in found], ROWS)
    first = found[0]
    assert (first.names, first.target, first.label, first.method) == (["a", "b", "c", "d"], 1, "green", "occlusion")
    np.testing.assert_allclose(first.score, ROWS[0] @ WEIGHT[:, 1], rtol=1e-5)
    np.testing.assert_allclose(first.probability, table.probabilities(ROWS)[0, 1], rtol=1e-5)
    assert [one.index for one in first.top] == np.argsort(-(ROWS[0] @ WEIGHT)).tolist()


def test_one_row_and_the_best_classes_of_each(table: Explainer) -> None:
    one = table.explain_table(ROWS[0])
    assert isinstance(one, TableExplanation) and one.names == [f"feature {i}" for i in range(4)]
    assert one.target == int(np.argmax(ROWS[0] @ WEIGHT))
    ranked = table.explain_table(ROWS, target="top2")
    assert [len(classes) for classes in ranked] == [2] * 5
    np.testing.assert_allclose(ranked[0][0].attribution, one.attribution, rtol=1e-5)
    assert [classes.target for classes in ranked[0]] == [classes.index for classes in one.top[:2]]


def test_data_frames_bring_their_names_and_numbers_of_any_precision(table: Explainer) -> None:
    frame = Frame(age=[20, 30], height=[1.6, 1.8], weight=[60, 70.5], size=[3, 4])
    found = table.explain_table(frame, target=0)
    assert found[0].names == ["age", "height", "weight", "size"]
    rows = frame.to_numpy().astype(np.float32)
    np.testing.assert_allclose([one.attribution for one in found], rows * WEIGHT[:, 0], rtol=1e-4, atol=1e-5)


def test_several_inputs_are_columns() -> None:
    explainer, x = Explainer(small.product()), {"a": ROWS, "b": ROWS + 1}
    found = explainer.explain_table(x, target=2)
    assert found[0].names == [f"a {i}" for i in range(4)] + [f"b {i}" for i in range(4)]
    expected = np.zeros((5, 8))
    expected[:, [2, 6]] = (ROWS * (ROWS + 1))[:, [2, 2]]
    np.testing.assert_allclose([one.attribution for one in found], expected, rtol=1e-5)
    with pytest.raises(InputError, match="the model has 2 inputs; pass a dict or a data frame with a, b"):
        explainer.explain_table(ROWS)
    with pytest.raises(InputError, match="inputs are a, b; found a, c"):
        explainer.explain_table({"a": ROWS, "c": ROWS})


def test_methods_without_a_sign_give_magnitudes(table: Explainer) -> None:
    found = table.explain_table(ROWS, target=0, method="saliency")
    np.testing.assert_allclose([one.attribution for one in found], np.abs([WEIGHT[:, 0]] * 5), rtol=1e-5)
    signed = table.explain_table(ROWS, target=0, method="gradient_x_input")
    np.testing.assert_allclose([one.attribution for one in signed], ROWS * WEIGHT[:, 0], rtol=1e-5)


def test_trees_and_values(tmp_path: Path) -> None:
    fixture = load("boosting_lightgbm_regressor")
    x = next(iter(fixture.inputs.values()))
    found = Explainer(fixture.model, gradients=False).explain_table(x[0], background=x)
    assert found.title == f"output {found.score:.4g}"
    assert found.attribution.shape == (10,) and np.abs(found.attribution).max() > 0


@pytest.mark.parametrize("method", ["occlusion", "saliency"])
def test_tokens(method: str) -> None:
    ids = np.array([[1, 2, 0], [3, 4, 6]])
    explainer, words = Explainer(text()), ["zero", "one", "two", "three", "four", "five", "six"]
    found = explainer.explain_tokens(ids, words.__getitem__, 2, method)
    assert [type(one) for one in found] == [TokenExplanation] * 2
    assert found[0].names == ["one", "two", "zero"] and found[1].values.tolist() == [3, 4, 6]
    expected = (EMBEDDING[ids] - EMBEDDING[0])[..., 2] if method == "occlusion" else np.ones((2, 3))
    np.testing.assert_allclose([one.attribution for one in found], expected, rtol=1e-5, atol=1e-6)
    one = explainer.explain_tokens([1, 2, 0], ["a", "b", "c"], 2, method)
    assert one.names == ["a", "b", "c"]
    np.testing.assert_allclose(one.attribution, expected[0], rtol=1e-5, atol=1e-6)
    assert explainer.explain_tokens(ids)[1].names == ["3", "4", "6"]


def test_a_mask_token_can_stand_for_the_hidden_one() -> None:
    found = Explainer(text()).explain_tokens([1, 2], target=0, baseline=5)
    np.testing.assert_allclose(found.attribution, (EMBEDDING[[1, 2]] - EMBEDDING[5])[:, 0], rtol=1e-5)


def test_tokens_beside_a_mask() -> None:
    x = {"ids": np.array([[1, 2, 3]]), "mask": np.array([[1, 0, 1]])}
    with pytest.raises(InputError, match=r"choose one with Explainer\(wrt=...\)"):
        Explainer(text(mask=True)).explain_tokens(x)
    found = Explainer(text(mask=True), wrt="ids").explain_tokens(x, target=1)
    expected = (EMBEDDING[[1, 2, 3]] - EMBEDDING[0])[:, 1] * [1, 0, 1]
    np.testing.assert_allclose(found[0].attribution, expected, rtol=1e-5, atol=1e-6)


def test_files(table: Explainer, tmp_path: Path) -> None:
    row, sequence = table.explain_table(ROWS[0], target=1), Explainer(text()).explain_tokens([1, 2, 3], target=0)
    for found in (row, sequence):
        for suffix in (".png", ".jpg", ".svg", ".pdf", ".html", ".json"):
            path = found.save(tmp_path / "made" / f"{type(found).__name__}{suffix}")
            assert path.is_file()
        with Image.open(tmp_path / "made" / f"{type(found).__name__}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), found.picture())
        facts = json.loads((tmp_path / "made" / f"{type(found).__name__}.json").read_text(encoding="utf-8"))
        np.testing.assert_allclose(facts["attribution"], found.attribution)
        assert facts["names"] == found.names and facts["values"] == found.values.tolist()
        assert facts["top"][0]["index"] == found.top[0].index
    page = (tmp_path / "made" / "TokenExplanation.html").read_text(encoding="utf-8")
    assert page.count("<span") == 3 and "class 0" in page
    assert row._repr_html_().count("data:image/png") == 1
    assert repr(row).startswith("<TableExplanation of ") and " features: " in repr(row) and "most by" in repr(row)
    np.testing.assert_array_equal(sequence.bars(width=700).shape[1], 700)
    with pytest.raises(OutputError, match="written as"):
        row.save(tmp_path / "row.txt")
    with pytest.raises(InputError, match="only pictures have options; found width"):
        row.save(tmp_path / "row.json", width=300)


def test_what_does_not_fit_is_refused(table: Explainer) -> None:
    with pytest.raises(InputError, match="2 names for 4 features"):
        table.explain_table(ROWS, ["a", "b"])
    with pytest.raises(InputError, match="numbers of type float32"):
        table.explain_table([["a", "b", "c", "d"]])
    with pytest.raises(InputError, match="3 instead of 4 on axis 1"):
        table.explain_table(np.ones((2, 3), np.float32))
    with pytest.raises(InputError, match="pass one of the two"):
        table.explain_table(ROWS, background=ROWS, baseline=0)
    with pytest.raises(InputError, match="'saliency' has no baseline"):
        table.explain_table(ROWS, background=ROWS, method="saliency")
    with pytest.raises(InputError, match="does not fit"):
        table.explain_table(ROWS, background=np.ones((3, 5)))
    with pytest.raises(InputError, match="not one number for each feature"):
        Explainer(small.quadratic()).explain_table(small.inputs(1))
    with pytest.raises(InputError, match=r"shape \[1, 2\]; give one token for each"):
        Explainer(text()).explain_tokens([1, 2], ["a"])
    with pytest.raises(InputError, match="numbers of type int64"):
        Explainer(text()).explain_tokens([0.5, 2])
    assert onnxplain.TableExplanation is TableExplanation
