"""From file to file: weights outside of the file stay outside, and both files appear or none."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

from onnxplain import Explainer, ModelError, OutputError, differentiate, differentiate_file
from onnxplain.autodiff import explainable
from onnxplain.autodiff import to_file as files
from onnxplain.autodiff.request import Options
from onnxplain.cli import app

from support.checker import session
from support.small_models import CLASSES

FEATURES, HIDDEN = 48, 512
RNG = np.random.default_rng(3)
A = RNG.standard_normal((FEATURES, HIDDEN)).astype(np.float32)
B = RNG.standard_normal((HIDDEN, CLASSES)).astype(np.float32)
X = RNG.standard_normal((2, FEATURES)).astype(np.float32)
TARGET = np.array([1, 4])


def wide(branches: bool = False) -> onnx.ModelProto:
    """x [N,48] -> relu(x A) B [N,5]; with ``branches`` B and -B are in the branches of an If on ``flag``."""
    inputs = [helper.make_tensor_value_info("x", 1, ["N", FEATURES])]
    weights = [numpy_helper.from_array(A, "A")]
    if branches:
        inputs.append(helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, []))
        graphs = {
            name: helper.make_graph(
                [helper.make_node("MatMul", ["r", f"B_{name}"], [name])],
                name,
                [],
                [helper.make_tensor_value_info(name, 1, None)],
                [numpy_helper.from_array(array, f"B_{name}")],
            )
            for name, array in [("then_branch", B), ("else_branch", -B)]
        }
        last = helper.make_node("If", ["flag"], ["y"], **graphs)
    else:
        weights.append(numpy_helper.from_array(B, "B"))
        last = helper.make_node("MatMul", ["r", "B"], ["y"])
    nodes = [helper.make_node("MatMul", ["x", "A"], ["h"]), helper.make_node("Relu", ["h"], ["r"]), last]
    output = helper.make_tensor_value_info("y", 1, ["N", CLASSES])
    graph = helper.make_graph(nodes, "wide", inputs, [output], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def save_outside(model: onnx.ModelProto, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=f"{path.stem}.weights", size_threshold=0)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_outside(wide(), tmp_path / "source" / "wide.onnx")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "result"
    folder.mkdir()
    return folder / "wide.grad.onnx"


def run(path: Path, **feeds: Any) -> list[np.ndarray]:
    """score and grad_x of a file, loaded by its path as whoever deploys it does."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    loaded = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    found: list[np.ndarray] = loaded.run(["score", "grad_x"], {"x": X, "target": TARGET, **feeds})
    return found


def expected(sign: int = 1) -> list[np.ndarray]:
    h = X @ A
    score = (np.maximum(h, 0) @ (sign * B))[np.arange(2), TARGET]
    return [score, ((sign * B.T[TARGET]) * (h > 0)) @ A.T]


def assert_right(found: list[np.ndarray], sign: int = 1) -> None:
    for array, right in zip(found, expected(sign)):
        np.testing.assert_allclose(array, right, atol=1e-3)


def test_weights_outside_stay_outside(source: Path, out: Path) -> None:
    proto = differentiate_file(source, out)
    assert sorted(os.listdir(out.parent)) == ["wide.grad.onnx", "wide.grad.onnx.data"]
    assert out.stat().st_size < 10_000
    assert out.with_name("wide.grad.onnx.data").stat().st_size == A.nbytes + B.nbytes, "every weight once"
    shutil.rmtree(source.parent)
    assert onnx.load(out, load_external_data=False) == proto
    onnx.checker.check_model(out, full_check=True)
    assert_right(run(out))


def test_a_model_in_one_file_stays_in_one(tmp_path: Path, out: Path) -> None:
    onnx.save(wide(), tmp_path / "one.onnx")
    proto = differentiate_file(tmp_path / "one.onnx", out)
    assert os.listdir(out.parent) == [out.name]
    assert proto == differentiate(wide())
    assert_right(run(out))


def test_a_model_too_large_for_one_file_is_split(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_FILE", A.nbytes + B.nbytes - 1)
    differentiate_file(wide(), out)
    assert sorted(os.listdir(out.parent)) == [out.name, f"{out.name}.data"]
    assert_right(run(out))


@pytest.mark.parametrize(("flag", "sign"), [(True, 1), (False, -1)])
def test_weights_of_branches(tmp_path: Path, out: Path, flag: bool, sign: int) -> None:
    save_outside(wide(branches=True), tmp_path / "source" / "wide.onnx")
    differentiate_file(tmp_path / "source" / "wide.onnx", out)
    shutil.rmtree(tmp_path / "source")
    assert_right(run(out, flag=np.array(flag)), sign)


def test_differentiate_returns_all_weights(source: Path) -> None:
    model = differentiate(source)
    shutil.rmtree(source.parent)
    assert not any(onnx.external_data_helper.uses_external_data(t) for t in model.graph.initializer)
    assert_right(session(model).run(["score", "grad_x"], {"x": X, "target": TARGET}))


def test_options_are_those_of_differentiate(source: Path, out: Path) -> None:
    parameters = inspect.signature(differentiate).parameters.values()
    assert list(Options.__annotations__) == [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    proto = differentiate_file(source, out, wrt="h", target="cotangent")
    assert [v.name for v in proto.graph.output] == ["y", "grad_h"]
    assert [v.name for v in proto.graph.input] == ["x", "cotangent"]


def test_a_differentiated_file_is_differentiated_again(source: Path, out: Path, tmp_path: Path) -> None:
    differentiate_file(source, out)
    second = tmp_path / "second.onnx"
    proto = differentiate_file(out, second, tensor="grad_x", wrt="B", target="cotangent")
    assert "grad_B" in [v.name for v in proto.graph.output]
    assert (tmp_path / "second.onnx.data").stat().st_size == A.nbytes + B.nbytes


@pytest.mark.parametrize("written", [False, True])
def test_the_explainer_leaves_many_weights_where_they_are(
    source: Path, out: Path, tmp_path: Path, written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainable, "TAKEN_IN", 0)
    if written:
        differentiate_file(source, out)
        shutil.rmtree(source.parent)
    explainer = Explainer(out if written else source, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").glob("*/model.onnx")
    assert kept.stat().st_size < 20_000
    np.testing.assert_allclose(explainer.attribute(X, TARGET), expected()[1], atol=1e-3)
    np.testing.assert_allclose(explainer.scores(X)[np.arange(2), TARGET], expected()[0], atol=1e-3)


def test_files_that_are_there_are_replaced(source: Path, out: Path) -> None:
    differentiate_file(source, out, wrt="h", target="cotangent")
    differentiate_file(source, out)
    assert sorted(os.listdir(out.parent)) == [out.name, f"{out.name}.data"]
    assert_right(run(out))


@pytest.mark.parametrize("broken", ["data", "model"])
def test_both_files_or_none(source: Path, out: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When moving one of the files fails, what was there before is still there."""
    place = {"data": out.with_name(f"{out.name}.data"), "model": out}[broken]
    real = os.replace

    def replace(a: Any, b: Any) -> None:
        if Path(b) == place and Path(a).suffix != ".before":
            raise PermissionError(13, "Permission denied")
        real(a, b)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        differentiate_file(source, out)
    assert os.listdir(out.parent) == []
    monkeypatch.undo()
    differentiate_file(source, out)
    before = {file.name: file.read_bytes() for file in out.parent.iterdir()}
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError):
        differentiate_file(source, out, wrt="h")
    assert {file.name: file.read_bytes() for file in out.parent.iterdir()} == before


def test_a_refused_model_leaves_nothing(source: Path, out: Path) -> None:
    with pytest.raises(ModelError):
        differentiate_file(source, out, tensor="r", wrt="y")
    assert os.listdir(out.parent) == []


def test_the_source_is_never_overwritten(source: Path) -> None:
    before = {file.name: file.read_bytes() for file in source.parent.iterdir()}
    with pytest.raises(OutputError, match=r"wide\.onnx is a file that the model is read from"):
        differentiate_file(source, source)
    with pytest.raises(OutputError, match=r"wide\.weights is a file that the model is read from"):
        differentiate_file(source, source.with_name("wide.weights"))
    assert {file.name: file.read_bytes() for file in source.parent.iterdir()} == before


def test_the_weights_of_the_source_are_never_overwritten(tmp_path: Path) -> None:
    """A result whose weights would go where the source keeps its own."""
    model = wide()
    folder = tmp_path / "both"
    folder.mkdir()
    onnx.save(model, folder / "in.onnx", save_as_external_data=True, location="out.onnx.data", size_threshold=0)
    before = (folder / "out.onnx.data").read_bytes()
    with pytest.raises(OutputError, match=r"out\.onnx\.data is a file that the model is read from"):
        differentiate_file(folder / "in.onnx", folder / "out.onnx")
    assert (folder / "out.onnx.data").read_bytes() == before and not (folder / "out.onnx").exists()


def test_hard_links_are_refused(source: Path) -> None:
    os.link(source.with_name("wide.weights"), source.with_name("second"))
    with pytest.raises(ModelError, match=r"'wide\.weights', the data of tensor 'A', has several hard links"):
        differentiate(source)


def test_places_that_cannot_be_written(source: Path, out: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        differentiate_file(source, out.parent / "missing" / "a.onnx")
    with pytest.raises(OutputError, match="is a folder"):
        differentiate_file(source, out.parent)
    assert os.listdir(out.parent) == []


def test_the_command_writes_both_files(source: Path, out: Path) -> None:
    result = CliRunner().invoke(app, ["differentiate", str(source), "-o", str(out), "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["data"] == f"{out}.data"
    assert facts["bytes"] == out.stat().st_size + A.nbytes + B.nbytes
    assert_right(run(out))
