"""Reading models: from where, and what is refused before anything is differentiated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxplain import Explainer, ModelError
from onnxplain.autodiff import differentiate, differentiate_ir
from onnxplain.autodiff.summary import summarize

from support.graphs import EXPECTED, FLOAT, TARGET, X, build, classifier, run


@pytest.mark.parametrize("kind", ["path", "bytes", "external"])
def test_models_come_from_paths_bytes_and_with_external_data(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.onnx"
    model = classifier()
    if kind == "external":
        onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    else:
        onnx.save(model, path)
    found = differentiate(path.read_bytes() if kind == "bytes" else path)
    np.testing.assert_allclose(run(found, x=X, target=TARGET)["grad_x"], EXPECTED, rtol=1e-6)


def external(tmp_path: Path, location: str) -> Path:
    path = tmp_path / "folder" / "model.onnx"
    path.parent.mkdir()
    onnx.save(classifier(), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("location", "match"),
    [
        ("gone.bin", "is missing"),
        ("../weights.bin", "outside the model's folder"),
        ("link.bin", "outside the model's folder"),
        ("", "outside the model's folder"),
        ("short.bin", "truncated"),
    ],
)
def test_external_data_that_is_missing_outside_or_short_is_refused(tmp_path: Path, location: str, match: str) -> None:
    path = external(tmp_path, location)
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    (path.parent / "link.bin").symlink_to(tmp_path / "weights.bin")
    (path.parent / "short.bin").write_bytes(bytes(7))
    with pytest.raises(ModelError, match=match):
        differentiate(path)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"length": None}, "is truncated: tensor 'W' ends at byte"),
        ({"length": "8"}, r"has 8 bytes, but its type and shape \[\d, \d\] need \d+"),
        ({"length": "-8"}, "has the length '-8', which is no number of bytes"),
        ({"offset": "1e3"}, "has the offset '1e3', which is no number of bytes"),
        ({"offset": "9" * 5000}, "has the offset '9999999999999999999999999999999999999999', which is no number"),
        ({"type": onnx.TensorProto.STRING}, "has type 8 and shape"),
        ({"type": 99}, "has type 99 and shape"),
        ({"dims": -1}, r"shape \[-1, \d\]"),
        ({"dims": 1 << 40}, r"need \d+"),
    ],
)
def test_external_data_has_the_length_of_its_shape(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    """`check` reads models like this; weights shorter than their shape were found only when they were used."""
    path = external(tmp_path, "weights.bin")
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    stated = {entry.key: entry.value for entry in tensor.external_data}
    for name, value in changes.items():
        if name == "type":
            tensor.data_type = value
        elif name == "dims":
            tensor.dims[0] = value
        else:
            stated[name] = value
    del tensor.external_data[:]
    for name, value in stated.items():
        if value is not None:
            tensor.external_data.add(key=name, value=value)
    if changes.get("length", "") is None:  # the file ends inside of the tensor, and nothing says how long that is
        weights = path.with_name("weights.bin")
        weights.write_bytes(weights.read_bytes()[: int(stated.get("offset", 0)) + 4])
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=match):
        summarize(path)


def test_external_data_at_an_absolute_path_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path, str(tmp_path / "folder" / "weights.bin"))
    with pytest.raises(ModelError, match="outside the model's folder"):
        differentiate(path)


def test_external_data_without_a_path_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    with pytest.raises(ModelError, match="Pass the model's path"):
        differentiate(path.read_bytes())


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    data = classifier().SerializeToString()
    for name, content in {
        "empty": b"",
        "text": b"this is not a model",
        "noise": np.random.default_rng(0).bytes(1000),
        "truncated": data[: len(data) // 2],
        "cut": data[:-3],
    }.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=name):
            differentiate(path)
    with pytest.raises(ModelError, match="cannot read the model"):
        differentiate(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="cannot read the model"):
        differentiate(tmp_path)
    with pytest.raises(ModelError, match="found int"):
        differentiate(3)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no graph"):
        differentiate(onnx.ModelProto())


def test_newer_and_older_opsets_than_known_are_refused() -> None:
    model = classifier()
    model.opset_import[0].version = 99
    with pytest.raises(ModelError, match="opset 99"):
        differentiate(model)
    model.opset_import[0].version = 6
    with pytest.raises(ModelError, match="opset 6"):
        differentiate(model)


def test_models_in_the_form_of_onnx_ir(tmp_path: Path) -> None:
    """In memory, and with weights that stay in a file; the model that was given is not touched."""
    path = tmp_path / "model.onnx"
    onnx.save(classifier(), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    for model in (ir.serde.deserialize_model(classifier()), ir.load(path)):
        before = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
        found = differentiate(model)
        np.testing.assert_allclose(run(found, x=X, target=TARGET)["grad_x"], EXPECTED, rtol=1e-6)
        assert ir.serde.serialize_model(model).SerializeToString(deterministic=True) == before
        np.testing.assert_allclose(Explainer(model).attribute(X, TARGET), EXPECTED, rtol=1e-6)


def test_a_model_in_the_form_of_onnx_ir_is_returned_on_request() -> None:
    made = differentiate_ir(ir.serde.deserialize_model(classifier()), form="cpu")
    assert isinstance(made, ir.Model) and [v.name for v in made.graph.outputs] == ["logits", "score", "grad_x"]
    found = run(ir.serde.serialize_model(made), x=X, target=TARGET)
    np.testing.assert_allclose(found["grad_x"], EXPECTED, rtol=1e-6)
    assert differentiate(made).graph.output[-1].name == "grad_x_2"


def test_weights_of_a_returned_model_stay_in_their_file(tmp_path: Path) -> None:
    weights = np.ones((3, 30000), np.float32)
    nodes = [onnx.helper.make_node("MatMul", ["x", "W"], ["y"])]
    model = build(nodes, [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 30000])], {"W": weights})
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="weights.bin")
    made = differentiate_ir(tmp_path / "m.onnx")
    assert isinstance(made.graph.initializers["W"].const_value, ir.ExternalTensor)
    ir.save(made, tmp_path / "made.onnx")
    found = run(onnx.load(tmp_path / "made.onnx"), x=X, target=TARGET)
    np.testing.assert_array_equal(found["grad_x"], np.ones_like(X))


def test_a_model_that_returns_maps_has_no_such_form() -> None:
    nodes = [onnx.helper.make_node("ZipMap", ["logits"], ["map"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3])]
    model = classifier(nodes, "map")
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 1))
    of_floats = onnx.helper.make_tensor_type_proto(FLOAT, [])
    maps = onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, of_floats)
    model.graph.output[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(maps))
    with pytest.raises(ModelError, match="ZipMap"):
        differentiate_ir(model)


def test_a_model_whose_weights_lie_in_two_folders_is_refused(tmp_path: Path) -> None:
    model = ir.serde.deserialize_model(classifier())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.bin").write_bytes(bytes(48))
        tensor = ir.ExternalTensor(
            "w.bin", 0, 48, ir.DataType.FLOAT, shape=ir.Shape([3, 4]), name=name, base_dir=tmp_path / name
        )
        value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([3, 4]), const_value=tensor)
        model.graph.register_initializer(value)
    with pytest.raises(ModelError, match="in several folders"):
        differentiate(model)
