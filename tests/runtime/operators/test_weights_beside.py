"""Large weights of a prepared model lie beside it, and are mapped: read by nothing, shared by all processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain import Explainer
from onnxplain.model import loading
from onnxplain.runtime import CPU, Session, weights_beside, write_apart
from onnxplain.runtime.operators.library import library
from onnxplain.runtime.operators.rewrite import rewrite_file
from onnxplain.runtime.weights import LARGE

from support import small_models as small

FLOAT = TensorProto.FLOAT
#: A matrix of so many rows and columns is large: 360 kB.
WIDTH = 300


def network() -> onnx.ModelProto:
    """Two layers, with a weight that is large and others that are not."""
    rng = np.random.default_rng(0)
    shapes = {"A": (WIDTH, WIDTH), "b": (WIDTH,), "C": (WIDTH, 4)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) / 8 for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Gemm", ["x", "A", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "C"], ["y"]),
    ]
    return small.build(nodes, [("x", FLOAT, ["N", WIDTH])], [("y", FLOAT, ["N", 4])], weights)


X = np.random.default_rng(1).standard_normal((3, WIDTH)).astype(np.float32)
EXPECTED = Explainer(network(), providers=CPU, cache=False).attribute(X, 2)


def gradient(**options: object) -> np.ndarray:
    return Explainer(network(), providers=CPU, **options).attribute(X, 2)  # type: ignore[arg-type]


def test_a_model_gives_its_large_weights_away(tmp_path: Path) -> None:
    """They begin at pages, whatever their sizes; ONNX's own reader finds them."""
    sizes = {"small": LARGE // 4 - 1, "odd": LARGE // 4 + 7, "large": LARGE // 4}
    rng = np.random.default_rng(0)
    constants = {name: rng.standard_normal(size).astype(np.float32) for name, size in sizes.items()}
    nodes = [helper.make_node("ReduceSum", [name], [f"{name} sum"]) for name in sizes]
    nodes.append(helper.make_node("Sum", ["x", *(f"{name} sum" for name in sizes)], ["y"]))
    model = small.build(nodes, [("x", FLOAT, [1])], [("y", FLOAT, [1])], constants)
    file, given = tmp_path / "model.onnx", onnx.ModelProto.FromString(model.SerializeToString())
    write_apart(given, file)
    for read, tensor in zip(onnx.load(file).graph.initializer, model.graph.initializer):
        np.testing.assert_array_equal(numpy_helper.to_array(read), numpy_helper.to_array(tensor))
    assert [bool(t.raw_data) for t in given.graph.initializer] == [name == "small" for name in sizes]
    stated = [{e.key: e.value for e in t.external_data} for t in given.graph.initializer[1:]]
    assert [int(one["offset"]) % 4096 for one in stated] == [0, 0]
    (before,), (after,) = (
        Session(one, providers=CPU).run({"x": np.ones(1, np.float32)}, ["y"]) for one in (model, file)
    )
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("state", ["", "off"])
def test_the_entry_has_them_beside_the_model(state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPLAIN_OPERATORS", state)
    cold, warm = (gradient(cache=tmp_path / "models") for _ in range(2))
    np.testing.assert_array_equal(cold.view(np.uint32), EXPECTED.view(np.uint32))
    np.testing.assert_array_equal(warm.view(np.uint32), EXPECTED.view(np.uint32))
    (entry,) = (tmp_path / "models").iterdir()
    files = {"model.onnx", "model.onnx.data", "graph.onnx", "facts.json", "checksums.json"}
    assert {path.name for path in entry.iterdir()} == files
    assert (entry / "model.onnx").stat().st_size < WIDTH * WIDTH < weights_beside(entry / "model.onnx").stat().st_size
    assert set(json.loads((entry / "checksums.json").read_text())) == files - {"checksums.json"}


def test_a_flipped_bit_among_them_is_seen(tmp_path: Path) -> None:
    gradient(cache=tmp_path / "models")
    (entry,) = (tmp_path / "models").iterdir()
    file = entry / "model.onnx.data"
    whole = file.read_bytes()
    file.write_bytes(whole[:1000] + bytes([whole[1000] ^ 64]) + whole[1001:])
    np.testing.assert_array_equal(gradient(cache=tmp_path / "models"), EXPECTED)
    assert file.read_bytes() == whole


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_they_are_mapped_from_the_entry_and_outlive_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    unpacked = {"session.disable_prepacking": "1"}  # a copy of a weight that a product packs takes its place
    explainer = Explainer(network(), providers=CPU, cache=tmp_path / "models", session_options=unpacked)
    (entry,) = (tmp_path / "models").iterdir()
    assert str(entry / "model.onnx.data") in Path("/proc/self/maps").read_text()
    assert capfd.readouterr().err == ""  # ONNX Runtime warns of an option that is set twice
    before = explainer.attribute(X, 2)
    shutil.rmtree(entry)
    np.testing.assert_array_equal(explainer.attribute(X, 2), before)


def test_without_a_cache_nothing_stays_where_mapped_files_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading.sys, "platform", "win32")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    np.testing.assert_array_equal(gradient(cache=False), EXPECTED)
    assert list(tmp_path.iterdir()) == []
    if sys.platform == "linux":
        assert f"{tmp_path}/" not in Path("/proc/self/maps").read_text()


def test_an_entry_that_goes_while_it_is_cut_in_two_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = loading.ModelLoader._optimised

    def removed_meanwhile(*args: Any) -> Any:
        file, facts = found(*args)
        weights_beside(file).unlink()
        return file, facts

    monkeypatch.setattr(loading.ModelLoader, "_optimised", removed_meanwhile)
    explainer = Explainer(network(), providers=CPU, cache=tmp_path / "models")
    first, second = (explainer.attribute(X[:1], "top3") for _ in range(2))  # the second time in halves
    np.testing.assert_array_equal(first, second)
    assert not [*tmp_path.rglob("model.onnx.data")]


FULL = """
import resource, sys
import numpy as np
from onnxplain import Explainer
from onnxplain.runtime import CPU

resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
np.save(sys.argv[3], Explainer(sys.argv[1], providers=CPU, cache=sys.argv[2]).attribute(np.load(sys.argv[4]), 2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit for files")
def test_a_disk_that_is_full_leaves_no_half_of_them(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", X)
    names = ["model.onnx", "models", "found.npy", "x.npy"]
    subprocess.run([sys.executable, "-c", FULL, *(str(tmp_path / name) for name in names)], check=True, timeout=120)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), EXPECTED)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.skipif(library() is None, reason="the operators were not built here")
def test_a_rewritten_file_keeps_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("HardSigmoid", ["p"], ["mask"], alpha=3.4028234663852886e38, beta=0.0),
        helper.make_node("Mul", ["q", "mask"], ["z"]),
    ]
    rng = np.random.default_rng(0)
    weights = {"w": (WIDTH, WIDTH), "b": (WIDTH,)}
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    model = small.build(nodes, [("x", FLOAT, ["N", WIDTH])], [("z", FLOAT, ["N", WIDTH])], constants)
    for name in ("p", "q", "mask"):
        model.graph.value_info.append(helper.make_tensor_value_info(name, FLOAT, ["N", WIDTH]))
    file = tmp_path / "model.onnx"
    onnx.save(model, file, save_as_external_data=True, location=weights_beside(file).name)
    before, data = (
        Session(file, providers=CPU, optimised=True).run({"x": X}, ["z"])[0],
        weights_beside(file).read_bytes(),
    )
    assert sum(rewrite_file(file).fused.values()) == 1
    assert weights_beside(file).read_bytes() == data
    after = Session(file, providers=CPU, optimised=True).run({"x": X}, ["z"])[0]
    np.testing.assert_array_equal(before.view(np.uint32), after.view(np.uint32))


def test_what_is_no_model_is_not_rewritten(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="no model"):
        rewrite_file(tmp_path / "model.onnx")
