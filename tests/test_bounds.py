"""Small files and plain options that ask for gigabytes, for hours or for something that never ends: refused at once."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, differentiate
from onnxplain.checks import LONGEST_LITERAL, read_literal
from onnxplain.errors import (
    ImageError,
    InputError,
    ModelError,
    OnnxplainError,
    PreprocessingError,
    UnsupportedOperatorError,
)
from onnxplain.layout import layout_beside
from onnxplain.photos.labels import resolve_labels
from onnxplain.photos.load import load_image
from onnxplain.photos.preprocessing import Preprocessing
from onnxplain.photos.sources import resolve_preprocessing

from support.command_line import Runner
from support.small_models import quadratic

VALUE = helper.make_tensor_value_info


def nested(depth: int) -> onnx.ModelProto:
    """``depth`` times y = (c ? inner : -x) * x, with the inner ones as branches of the outer ones."""

    def graph(level: int) -> onnx.GraphProto:
        name = f"o{level}"
        nodes = [helper.make_node("Relu", ["x"], [name])]
        if level < depth:
            other = helper.make_graph(
                [helper.make_node("Neg", ["x"], [f"e{level}"])],
                "e",
                [],
                [VALUE(f"e{level}", TensorProto.FLOAT, ["N", 4])],
            )
            branches = {"then_branch": graph(level + 1), "else_branch": other}
            nodes = [helper.make_node("If", ["c"], [f"i{level}"], **branches)]
            nodes.append(helper.make_node("Mul", [f"i{level}", "x"], [name]))
        return helper.make_graph(nodes, f"g{level}", [], [VALUE(name, TensorProto.FLOAT, ["N", 4])])

    outermost = graph(0)
    outermost.input.extend([VALUE("x", TensorProto.FLOAT, ["N", 4]), VALUE("c", TensorProto.BOOL, [])])
    return helper.make_model(outermost, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_nested_branches_do_not_double_the_model_at_every_level() -> None:
    """It was twice the bytes for every level, for names that were made of the names around them."""
    small, large = (differentiate(nested(depth)).ByteSize() for depth in (12, 24))
    assert large < 5 * small


@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize(
    ("kernel", "pads", "extent"),
    [
        ([2, 2**31 - 1], [1, 2**31 - 3, 1, 2**31 - 3], 5),
        ([3, 3], [2**31, 0, 2**31, 0], 2**31),
        ([3, 3], [1] * 4, 2**33),
    ],
    ids=["taps", "pads", "windows"],
)
def test_windows_that_would_take_gigabytes_are_refused(
    operator: str, kernel: list[int], pads: list[int], extent: int
) -> None:
    nodes = [
        helper.make_node(operator, ["x"], ["p"], kernel_shape=kernel, pads=pads, name="pool"),
        helper.make_node("ReduceMean", ["p", "axes"], ["y"], keepdims=0),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    x, y = VALUE("x", TensorProto.FLOAT, [1, 3, 5, extent]), VALUE("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "g", [x], [y], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=9)
    tracemalloc.start()
    with pytest.raises(UnsupportedOperatorError, match="pool"):
        differentiate(model)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


def functions(depth: int, last: str) -> onnx.ModelProto:
    """Functions that call the one before twice each."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    first = helper.make_node(last, ["a"], ["b"], domain="" if last == "Relu" else "f")
    made = [helper.make_function("f", "f0", ["a"], ["b"], [first], opsets)]
    for i in range(1, depth):
        calls = [helper.make_node(f"f{i - 1}", [read], [made_], domain="f") for read, made_ in (("a", "b"), ("b", "c"))]
        made.append(helper.make_function("f", f"f{i}", ["a"], ["c"], calls, opsets))
    graph = helper.make_graph(
        [helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="f")],
        "functions",
        [VALUE("x", TensorProto.FLOAT, ["N", 4])],
        [VALUE("y", TensorProto.FLOAT, ["N", 4])],
    )
    return helper.make_model(graph, opset_imports=opsets, functions=made, ir_version=9)


def test_functions_that_multiply_are_refused() -> None:
    assert len(differentiate(functions(4, "Relu")).graph.node) > 8
    with pytest.raises(ModelError, match="has 549755813888 nodes without them; the limit is 1000000"):
        differentiate(functions(40, "Relu"))


def test_functions_that_call_themselves_are_refused() -> None:
    with pytest.raises(ModelError, match="calls itself"):
        differentiate(functions(3, "f2"))


@pytest.mark.parametrize("op_type", ["Expand", "Tile", "ConstantOfShape"])
def test_constants_that_would_fold_to_gigabytes_are_left_in_the_graph(op_type: str) -> None:
    many = helper.make_tensor("many", TensorProto.INT64, [2], [1 << 16, 1 << 16])
    one = helper.make_tensor("one", TensorProto.INT64, [1, 1], [1])
    reads = ["many"] if op_type == "ConstantOfShape" else ["one", "many"]
    nodes = [helper.make_node(op_type, reads, ["large"]), helper.make_node("ReduceMax", ["large"], ["m"], keepdims=0)]
    nodes += [helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT), helper.make_node("Mul", ["x", "f"], ["y"])]
    x, y = (VALUE(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    graph = helper.make_graph(nodes, "large", [x], [y], [many, one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert op_type in {node.op_type for node in differentiate(model).graph.node}


def test_sizes_of_hundreds_of_megapixels_are_refused() -> None:
    for stated in ({"resize": "exact", "size": [30_000, 30_000]}, {"crop": 30_000}):
        with pytest.raises(PreprocessingError, match="is 30000x30000 pixels; a tensor may have 33554432 of them"):
            Preprocessing.from_dict(stated)


@pytest.mark.parametrize(
    ("rule", "shape"),
    [(Preprocessing("shortest", 256), (1, 10_000)), (Preprocessing("exact", 224, crop=224), (1_000_000, 1))],
)
def test_thin_photos_that_grow_to_gigabytes_are_refused(rule: Preprocessing, shape: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="pixels on the way; cut it first"):
        rule.apply(np.zeros((*shape, 3), np.uint8))


def test_thin_photos_are_enlarged_where_a_crop_keeps_a_part() -> None:
    tensor, _ = Preprocessing("shortest", 256, crop=224).apply(np.full((1, 10_000, 3), 255, np.uint8))
    assert tensor.shape == (3, 224, 224)
    assert tensor.min() == tensor.max() == 1


def test_long_literals_in_metadata_are_refused() -> None:
    names = "{" + ", ".join(f"{i}: 'a'" for i in range(LONGEST_LITERAL // 8)) + "}"
    assert len(names) > LONGEST_LITERAL
    with pytest.raises(InputError, match=r"metadata names is neither a list nor a dict, .* are more than the limit"):
        resolve_labels(metadata={"names": names})
    assert read_literal("{0: 'a'}") == {0: "a"}


def test_metadata_nested_deeper_than_python_reads_are_refused() -> None:
    with pytest.raises(PreprocessingError, match="is not valid JSON"):
        resolve_preprocessing(metadata={"onnxplain.preprocessing": "[" * 100_000}, input_shape=(1, 3, 8, 8))


def test_large_files_of_labels_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "labels.txt"
    with place.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(InputError, match="has 16777217 bytes, too many for labels"):
        resolve_labels(place)


READERS: dict[str, tuple[str, Callable[[Path], object], type[OnnxplainError]]] = {
    "a model": ("model.onnx", lambda place: differentiate(place), ModelError),
    "an Explainer's model": ("model.onnx", lambda place: Explainer(place), ModelError),
    "a photo": ("photo.png", load_image, ImageError),
    "labels": ("labels.txt", resolve_labels, InputError),
    "a layout": ("model.layout.json", lambda place: layout_beside(place.with_name("model.onnx")), InputError),
    "a preprocessing": (
        "own.json",
        lambda place: resolve_preprocessing(place, input_shape=(1, 3, 8, 8)),
        PreprocessingError,
    ),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("reader", READERS)
def test_named_pipes_are_refused(reader: str, tmp_path: Path) -> None:
    name, read, error = READERS[reader]
    os.mkfifo(tmp_path / name)
    with pytest.raises(error):
        read(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no devices")
def test_devices_are_refused() -> None:
    with pytest.raises(ImageError, match="a pipe, a socket or a device"):
        load_image("/dev/zero")
    with pytest.raises(ModelError, match="a pipe, a socket or a device"):
        differentiate("/dev/zero")


@pytest.mark.parametrize("count", ["-1", "100000"])
def test_threads_are_as_many_as_there_are_cores(
    count: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(quadratic(), tmp_path / "model.onnx")
    found = Runner(tmp_path, monkeypatch, capsys)("explain", "model.onnx", "--threads", count)
    assert found.code == 2
    assert f"{count} is not 0 (all)" in " ".join((found.out + found.err).split())
