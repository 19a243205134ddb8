"""Optimised models with the operators put in: what is fused, what is left, and that no bit of a result changes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer
from onnxplain.autodiff import differentiate
from onnxplain.runtime import CPU, Session
from onnxplain.runtime.operators import library
from onnxplain.runtime.operators.lanes import lanes
from onnxplain.runtime.operators.rewrite import rewrite

from support import small_models as small

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
RELEASE = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
RELU = {"alpha": 3.4028234663852886e38, "beta": 0.0}


def network(kind: str, height: int | str = 31, batch: int | str = "N") -> onnx.ModelProto:
    """A small network of one kind, x [N,3,H,H+2] to y [N,5], whose gradient has what the operators stand for."""
    rng = np.random.default_rng(0)
    constants, nodes = {}, []

    def add(op: str, source: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, [source], [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    def conv(source: str, inputs: int, outputs: int, kernel: int, stride: int = 1, group: int = 1) -> str:
        name = f"w{len(nodes)}"
        shape = (outputs, inputs // group, kernel, kernel)
        constants[name] = (rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
        output = add("Conv", source, strides=[stride] * 2, pads=[kernel // 2] * 4, group=group)
        nodes[-1].input.append(name)
        return output

    def clipped(source: str) -> str:
        constants["low"], constants["high"] = np.float32(0), np.float32(6)
        output = add("Clip", source)
        nodes[-1].input.extend(["low", "high"])
        return output

    x = conv("x", 3, 16, 3)
    if kind == "mobile":
        x = clipped(conv(clipped(x), 16, 16, 3, 2, 16))
        x = clipped(conv(x, 16, 32, 1))
        x = conv(clipped(conv(x, 32, 32, 3, 2, 32)), 32, 16, 1)
    elif kind == "pooled":
        x = add("MaxPool", add("Relu", x), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        x = add("Relu", conv(x, 16, 16, 3))
        x = add("MaxPool", conv(x, 16, 16, 3), kernel_shape=[2, 2], strides=[2, 2])
        x = add("MaxPool", conv(x, 16, 16, 1), kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    else:
        x = add("Relu", conv(add("Relu", x), 16, 16, 3, 2))
        x = add("Relu", conv(x, 16, 16, 3))
        x = conv(x, 16, 16, 1, 2)
    x = add("Flatten", add("GlobalAveragePool", conv(x, 16, 5, 1)), axis=1)
    nodes[-1].output[0] = "y"
    width: int | str = height + 2 if isinstance(height, int) else "W"
    return small.build(nodes, [("x", FLOAT, [batch, 3, height, width])], [("y", FLOAT, [batch, 5])], constants)


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """What ONNX Runtime writes of a model's gradient on this processor."""
    Session(model, providers=CPU, threads=1, save_to=folder / "optimised.onnx")
    return onnx.load(folder / "optimised.onnx")


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    found = [node.op_type for node in model.graph.node]
    return {kind: found.count(kind) for kind in dict.fromkeys(found)}


#: For each network, what is fused. The first layer's gradient has phases. A depthwise convolution with a stride spreads
#: rows, then columns; one of 3 x 3 puts four phases together, and one of 1 x 1 has one phase.
FUSED = {
    "mobile": {"Gate": 4, "Interleave": 1 + 2 + 2},
    "pooled": {"Gate": 2, "Interleave": 1, "PoolGradient": 3},
    "strided": {"Gate": 3, "Interleave": 1 + 1 + 1},
}
#: The first release of ONNX Runtime that leaves reorders to blocks around the masks of a strided gradient, which is put
#: together in plain layout: what works on them then is a chain, in blocks.
REORDERED = (1, 25)
#: From this release on, at the latest, MaxPool's index is that of an element wherever none of a window is a number.
NUMBERED = (1, 32)


def fused(kind: str) -> dict[str, int]:
    """What this release of ONNX Runtime lets the rewrite fuse."""
    found = dict(FUSED[kind])
    if kind == "strided" and RELEASE >= REORDERED:
        found |= {"Gate": 1, "Chain": 2}
    return found


@pytest.mark.skipif(lanes() == 1, reason="ONNX Runtime has no blocked layout here")
@pytest.mark.parametrize("kind", FUSED)
def test_what_is_fused(kind: str, tmp_path: Path) -> None:
    model = optimised(differentiate(network(kind), form="cpu_shared"), tmp_path)
    before = kinds(model)
    report = rewrite(model)
    assert report.fused == fused(kind)
    after = kinds(model)
    assert {name: after[name] for name in report.fused} == report.fused
    assert not {"ScatterElements", "MaxUnpool", "ConvTranspose"} & set(after)
    assert "HardSigmoid" not in after and not report.left
    assert after["ReorderOutput"] < before["ReorderOutput"] and after["Reshape"] < before["Reshape"]


@pytest.mark.parametrize("kind", ["mobile", "pooled", "strided"])
@pytest.mark.parametrize("height", [31, 32])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ["", "portable"])
def test_gradients_stay_the_same_bit_for_bit(
    kind: str, height: int, threads: int, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXPLAIN_ISA", isa)
    model = network(kind, height)
    x = np.random.default_rng(1).standard_normal((3, 3, height, height + 2)).astype(np.float32)
    found = []
    for state in ("off", ""):
        monkeypatch.setenv("ONNXPLAIN_OPERATORS", state)
        explainer = Explainer(model, providers=CPU, cache=False, threads=threads)
        found.append([explainer.attribute(x, 2), explainer.attribute(x[:1], 4), explainer.scores(x)])
    for off, on in zip(*found):
        np.testing.assert_array_equal(off.view(np.uint32), on.view(np.uint32))


@pytest.mark.parametrize("kind", ["mobile", "pooled", "strided"])
def test_what_is_no_number_spreads_as_before(kind: str, tmp_path: Path) -> None:
    """A gradient that looks like a number, beside a score that is none, would be a map of nothing."""
    if kind == "pooled" and RELEASE < NUMBERED:
        pytest.skip("MaxPool's index is -5 where no element of a window is a number")
    gradient = differentiate(network(kind), form="cpu_shared")
    x = np.random.default_rng(1).standard_normal((2, 3, 31, 33)).astype(np.float32)
    x[0, 1, 14, 15] = np.nan
    feeds = {info.name: x if info.name == "x" else np.array([2, 2]) for info in gradient.graph.input}
    outputs = [info.name for info in gradient.graph.output]
    before = Session(gradient, providers=CPU).run(feeds, outputs)
    rewritten = optimised(gradient, tmp_path)
    assert rewrite(rewritten).fused
    for one, other in zip(before, Session(rewritten, providers=CPU, optimised=True).run(feeds, outputs)):
        np.testing.assert_array_equal(one, other)
        assert np.isnan(one[0]).any() and not np.isnan(one[1]).any()


def test_sizes_that_are_open_are_left(tmp_path: Path) -> None:
    model = optimised(differentiate(network("strided", "H"), form="cpu_shared"), tmp_path)
    report = rewrite(model)
    assert "Interleave" not in report.fused and "Gate" in report.fused


def test_the_cache_keeps_the_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 31, 33)).astype(np.float32)
    found = []
    for state in ("", "off", ""):
        monkeypatch.setenv("ONNXPLAIN_OPERATORS", state)
        found.append(Explainer(network("pooled"), providers=CPU, cache=tmp_path / "models").attribute(x, 2))
    entries = [onnx.load(entry / "model.onnx") for entry in (tmp_path / "models").iterdir()]
    assert sorted("PoolGradient" in kinds(model) for model in entries) == [False, True]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert {path.name for entry in (tmp_path / "models").iterdir() for path in entry.iterdir()} == {
        "model.onnx", "graph.onnx", "facts.json", "checksums.json"
    }  # fmt: skip


def test_without_the_library_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_loadable", lambda file: None)
    Explainer(network("pooled"), providers=CPU, cache=tmp_path / "models")
    (entry,) = (tmp_path / "models").iterdir()
    assert "PoolGradient" not in kinds(onnx.load(entry / "model.onnx"))


def masked(
    dy: Sequence[int | str] = ("N", 4),
    y: Sequence[int | str] = ("N", 4),
    kind: int = FLOAT,
    mask_is_output: bool = False,
) -> onnx.ModelProto:
    """z = dy HardSigmoid(y)."""
    nodes = [
        helper.make_node("HardSigmoid", ["y"], ["mask"], **RELU),
        helper.make_node("Mul", ["dy", "mask"], ["z"], name="product"),
    ]
    outputs = [("z", kind, dy), *([("mask", kind, y)] if mask_is_output else [])]
    return small.build(nodes, [("dy", kind, dy), ("y", kind, y)], outputs)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (masked(y=("N", 1)), "its inputs are not known to have one shape"),
        (masked(y=("M", 4)), "its inputs are not known to have one shape"),
        (masked(kind=HALF), "it is not known to be float32"),
    ],
)
def test_what_may_differ_is_left(model: onnx.ModelProto, reason: str) -> None:
    before = model.SerializeToString()
    report = rewrite(model)
    assert not report.fused
    assert [(note.operator, note.node, note.reason) for note in report.left] == [("Gate", "product", reason)]
    assert model.SerializeToString() == before


def test_a_mask_is_fused() -> None:
    model = masked()
    assert rewrite(model).fused == {"Gate": 1}
    assert kinds(model) == {"Gate": 1}
    onnx.checker.check_model(model)


def test_a_mask_that_is_returned_stays_and_is_made_again() -> None:
    model = masked(mask_is_output=True)
    assert rewrite(model).fused == {"Chain": 1}
    assert kinds(model) == {"HardSigmoid": 1, "Chain": 1}


def shortcut(a: Sequence[int | str] = ("N", 4), sum_is_output: bool = False) -> onnx.ModelProto:
    """z = (a + b) HardSigmoid(y)."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["dy"]),
        helper.make_node("HardSigmoid", ["y"], ["mask"], **RELU),
        helper.make_node("Mul", ["mask", "dy"], ["z"]),
    ]
    shape = ("N", 4)
    outputs = [("z", FLOAT, shape), *([("dy", FLOAT, shape)] if sum_is_output else [])]
    model = small.build(nodes, [("a", FLOAT, a), ("b", FLOAT, shape), ("y", FLOAT, shape)], outputs)
    model.graph.value_info.append(helper.make_tensor_value_info("dy", FLOAT, shape))
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (shortcut(), {"Gate": 1}),
        (shortcut(a=("N", 1)), {"Chain": 1}),
        (shortcut(sum_is_output=True), {"Add": 1, "Gate": 1}),
    ],
)
def test_the_addition_of_a_shortcut_is_part_of_the_mask(model: onnx.ModelProto, expected: dict[str, int]) -> None:
    plain, rng = onnx.ModelProto.FromString(model.SerializeToString()), np.random.default_rng(0)
    feeds = {v.name: rng.standard_normal((3, v.type.tensor_type.shape.dim[1].dim_value)) for v in model.graph.input}
    rewrite(model)
    assert kinds(model) == expected
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    found = [Session(one, providers=CPU, optimised=True).run(feeds, ["z"])[0] for one in (plain, model)]
    np.testing.assert_array_equal(found[0].view(np.uint32), found[1].view(np.uint32))


def test_the_portable_file_has_no_operators_of_ours() -> None:
    for kind in ("mobile", "pooled", "strided"):
        model = differentiate(network(kind))
        assert {node.domain for node in model.graph.node} == {""}


#: Exits with 0 if the gradient in a forked process, with a session of its own, is that from before.
FORKING = """
import os, sys
import numpy as np
from onnxplain import Explainer

def attribute():
    explainer = Explainer(sys.argv[1], providers="CPUExecutionProvider", cache=False, threads=2)
    assert explainer.operators.fused["PoolGradient"] == 3
    return explainer.attribute(np.load(sys.argv[2]), 1)

before = attribute()
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(before, attribute()) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_gets_the_same(tmp_path: Path) -> None:
    onnx.save(network("pooled"), tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal((2, 3, 31, 33)).astype(np.float32))
    command = [sys.executable, "-c", FORKING, str(tmp_path / "model.onnx"), str(tmp_path / "x.npy")]
    subprocess.run(command, check=True, timeout=120)


def test_explainers_say_what_was_fused(tmp_path: Path) -> None:
    """Out of the cache as well."""
    for _ in range(2):
        report = Explainer(network("mobile"), providers=CPU, cache=tmp_path / "models", threads=2).operators
        assert report.fused == fused("mobile")


def test_a_level_of_optimisation_that_the_user_chose_is_kept() -> None:
    chosen = {"graph_optimization_level": "ORT_ENABLE_BASIC"}
    assert Explainer(network("mobile"), providers=CPU, cache=False, session_options=chosen).operators.fused == {}
