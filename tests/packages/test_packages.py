"""Folders for model servers: what is in them, and that it loads."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnxplain import InputError, ModelError, OutputError, Target, cli, differentiate
from onnxplain.packages import SERVERS, write_package

from support import small_models as small
from support.environments import environment
from support.service import REQUIREMENTS, SUPPORTED


def classifier() -> onnx.ModelProto:
    """x [N,3,4,4] -> y [N,5]."""
    return small.build(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        [("x", TensorProto.FLOAT, ("N", 3, 4, 4))],
        [("y", TensorProto.FLOAT, ("N", 5))],
        {"w": small.WEIGHT},
    )


def fields(text: str) -> list[tuple[str, str, str, str]]:
    """Name, type, dims and reshape of every tensor in a config.pbtxt."""
    pattern = r'name: "([^"]*)"\s+data_type: (\w+)\s+dims: \[ ([^\]]*) \]\s*(reshape \{ shape: \[ \] \})?'
    return [(name, kind, dims, "reshape" if shape else "") for name, kind, dims, shape in re.findall(pattern, text)]


def test_triton(tmp_path: Path) -> None:
    written = write_package(classifier(), tmp_path, name="small", max_batch=8)
    assert [str(file.relative_to(tmp_path)) for file in written] == ["small/1/model.onnx", "small/config.pbtxt"]
    text = written[1].read_text()
    assert 'name: "small"' in text and "max_batch_size: 8" in text and "dynamic_batching" in text
    assert fields(text) == [
        ("x", "TYPE_FP32", "3, 4, 4", ""),
        ("target", "TYPE_INT64", "1", "reshape"),
        ("y", "TYPE_FP32", "5", ""),
        ("score", "TYPE_FP32", "1", "reshape"),
        ("saliency_x", "TYPE_FP32", "4, 4", ""),
        ("grad_x", "TYPE_FP32", "3, 4, 4", ""),
    ]


def test_a_fixed_batch_is_not_filled(tmp_path: Path) -> None:
    model = classifier()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    text = write_package(model, tmp_path, name="small")[1].read_text()
    assert "max_batch_size: 0" in text and "dynamic_batching" not in text
    assert ("target", "TYPE_INT64", "2", "") in fields(text) and ("x", "TYPE_FP32", "2, 3, 4, 4", "") in fields(text)


def test_samples_that_influence_each_other_are_not_filled_up_with_others(tmp_path: Path) -> None:
    model = small.build(
        [
            helper.make_node("ReduceMean", ["x", "axis"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [("x", TensorProto.FLOAT, ("N", 5))],
        [("y", TensorProto.FLOAT, ("N", 5))],
        {"axis": np.array([0])},
    )
    text = write_package(model, tmp_path, name="small")[1].read_text()
    assert "max_batch_size: 32" in text and "dynamic_batching" not in text


def test_names_are_escaped(tmp_path: Path) -> None:
    model = small.build(
        [helper.make_node("Neg", ['a"\n{'], ["é"])],
        [('a"\n{', TensorProto.FLOAT, ("N", 2))],
        [("é", TensorProto.FLOAT, ("N", 2))],
    )
    text = write_package(model, tmp_path, name="small")[1].read_text()
    assert r'name: "a\042\012{"' in text and r'name: "\303\251"' in text


def test_openvino_lists_its_models(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_package(classifier(), tmp_path, "openvino", name=name)
    listed = json.loads((tmp_path / "config.json").read_text())["model_config_list"]
    assert [one["config"] for one in listed] == [{"name": name, "base_path": name} for name in ("one", "two")]
    assert all((tmp_path / one["config"]["base_path"] / "1" / "model.onnx").is_file() for one in listed)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(OutputError, match="model_config_list"):
        write_package(classifier(), tmp_path, "openvino", name="three")


@pytest.mark.skipif(not hasattr(onnxruntime, "ModelPackageContext"), reason="ONNX Runtime is older than its packages")
@pytest.mark.parametrize(
    "text", ["[]", "{", '{"model_config_list": [1]}', "[" * 100_000], ids=["list", "cut", "item", "deep"]
)
def test_a_list_that_no_model_can_be_added_to_is_refused_before_anything_is_written(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(OutputError, match="model_config_list"):
        write_package(classifier(), tmp_path, "openvino", name="one")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert (tmp_path / "config.json").read_text() == text


def test_onnxruntime_opens_its_package(tmp_path: Path) -> None:
    write_package(classifier(), tmp_path, "onnxruntime", name="small")
    context = onnxruntime.ModelPackageContext(str(tmp_path / "small"))
    options = onnxruntime.ModelPackageOptions(onnxruntime.SessionOptions())
    session = context.select_component("gradients", options).create_session()
    x = np.ones((2, 3, 4, 4), np.float32)
    y, gradient = session.run(["y", "grad_x"], {"x": x, "target": np.array([1, 2])})
    assert y.shape == (2, 5) and gradient.shape == x.shape


def test_a_differentiated_model_keeps_its_question(tmp_path: Path) -> None:
    rather = differentiate(classifier(), Target(versus=0))
    written = write_package(rather, tmp_path, name="rather")
    assert {"x", "target", "contrast"} <= {name for name, *_ in fields(written[1].read_text())}
    loaded = onnx.load(written[0])
    assert [v.name for v in loaded.graph.output] == [v.name for v in rather.graph.output]


def test_refusals(tmp_path: Path) -> None:
    write_package(classifier(), tmp_path, name="small")
    for error, message, given in (
        (OutputError, "exists", {"name": "small"}),
        (InputError, "triton, openvino, onnxruntime", {"name": "other", "server": "torchserve"}),
        (InputError, "other characters", {"name": "../outside"}),
        (InputError, "other characters", {"name": ".."}),
        (InputError, "at least 1", {"name": "other", "max_batch": 0}),
    ):
        with pytest.raises(error, match=message):
            write_package(classifier(), tmp_path, **given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]


def test_nothing_is_left_of_a_model_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        write_package(b"no model", tmp_path, name="small")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("server", SERVERS)
def test_command(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(classifier(), tmp_path / "my model.onnx")
    arguments = ["package", str(tmp_path / "my model.onnx"), "-o", str(tmp_path / "out"), "--server", server, "--json"]
    cli.app(arguments, standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "my_model" and all(Path(file).is_file() for file in found["files"])


def test_types_that_triton_lacks(tmp_path: Path) -> None:
    from onnxplain.packages.tensors import Tensor, Tensors
    from onnxplain.packages.triton import config

    odd = Tensor("x", TensorProto.FLOAT8E4M3FN, (None,), "N")
    with pytest.raises(ModelError, match="FLOAT8E4M3FN"):
        config("small", Tensors((odd,), ()), 1, fill=True)


@pytest.mark.skipif(not SUPPORTED, reason="the environment with tritonclient needs Python before 3.14")
def test_tritonclient_reads_the_description(tmp_path: Path) -> None:
    """The text is what Triton's own schema takes, and says the same in it."""
    text = write_package(classifier(), tmp_path, name="small", max_batch=8)[1]
    program = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
read = text_format.Parse(open(sys.argv[1]).read(), model_config_pb2.ModelConfig())
print(json.dumps(json_format.MessageToDict(read, preserving_proto_field_name=True)))
"""
    python = environment("serve", REQUIREMENTS)
    done = subprocess.run([python, "-c", program, text], check=True, capture_output=True, text=True, timeout=120)
    read = json.loads(done.stdout)
    assert (read["name"], read["backend"], read["max_batch_size"]) == ("small", "onnxruntime", 8)
    target = next(one for one in read["input"] if one["name"] == "target")
    assert target == {"name": "target", "data_type": "TYPE_INT64", "dims": ["1"], "reshape": {}}
    assert {one["name"]: one["dims"] for one in read["output"]}["grad_x"] == ["3", "4", "4"]
