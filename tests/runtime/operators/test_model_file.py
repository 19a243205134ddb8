"""Files of models read and written without their large weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain.runtime import CPU, Session
from onnxplain.runtime.operators.model_file import LARGE, ModelFile
from onnxplain.runtime.operators.rewrite import rewrite_file

from support import small_models as small

FLOAT = TensorProto.FLOAT
RELU = {"alpha": 3.4028234663852886e38, "beta": 0.0}


def saved(folder: Path, *, typed: bool = False) -> tuple[Path, onnx.ModelProto]:
    """The file of z = (x w + b) HardSigmoid(v y), with a weight that is large, one that is not, and one unused."""
    rng = np.random.default_rng(0)
    weights = {"w": (300, 300), "v": (300, 300), "b": (300,), "unused": (300, 301)}
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in weights.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
        helper.make_node("HardSigmoid", ["y"], ["mask"], **RELU),
        helper.make_node("Mul", ["q", "mask"], ["z"]),
    ]
    model = small.build(nodes, [("x", FLOAT, ["N", 300])], [("z", FLOAT, ["N", 300])], constants)
    for name in ("p", "q", "y", "mask"):
        model.graph.value_info.append(helper.make_tensor_value_info(name, FLOAT, ["N", 300]))
    if typed:  # the numbers in a field of their own type
        for tensor in model.graph.initializer:
            tensor.float_data.extend(numpy_helper.to_array(tensor).ravel().tolist())
            tensor.ClearField("raw_data")
    model.metadata_props.add(key="made", value="by hand")
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx", model


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_what_is_read_and_written_is_the_model(tmp_path: Path, typed: bool) -> None:
    file, model = saved(tmp_path, typed=typed)
    read = ModelFile.read(file)
    assert read.model.ByteSize() < LARGE
    assert {t.name: [*t.dims] for t in read.model.graph.initializer} == {
        t.name: [*t.dims] for t in model.graph.initializer
    }
    read.write()
    written = onnx.load(file)
    order = {tensor.name: tensor for tensor in written.graph.initializer}
    del written.graph.initializer[:]
    written.graph.initializer.extend(order[tensor.name] for tensor in model.graph.initializer)
    assert written == model
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_a_rewritten_file_runs(tmp_path: Path, typed: bool) -> None:
    """And has no weights that nothing uses."""
    file, model = saved(tmp_path, typed=typed)
    feeds = {"x": np.random.default_rng(1).standard_normal((3, 300)).astype(np.float32)}
    (before,) = Session(model, providers=CPU, optimised=True).run(feeds, ["z"])
    assert sum(rewrite_file(file).fused.values()) == 1
    (after,) = Session(file, providers=CPU, optimised=True).run(feeds, ["z"])
    np.testing.assert_array_equal(before.view(np.uint32), after.view(np.uint32))
    assert {tensor.name for tensor in onnx.load(file).graph.initializer} == {"w", "v", "b"}


def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    file, _ = saved(tmp_path)
    whole = file.read_bytes()
    for length in (1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cut off"):
            ModelFile.read(file)
