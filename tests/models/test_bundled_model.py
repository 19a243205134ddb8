"""The classifier and the photo that travel in the wheel."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.photos import find_label, load_image, resolve_labels, resolve_preprocessing

ort = pytest.importorskip("onnxruntime")

ZOO = os.environ.get("ONNXPLAIN_ZOO")
CATS = {281, 282, 283, 284, 285}


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(bundled_model())


def session(folded: bool = True) -> Any:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1" if folded else "0")
    return ort.InferenceSession(bundled_model(), options, providers=["CPUExecutionProvider"])


def scores(photo: Path, runner: Any) -> Any:
    metadata = runner.get_modelmeta().custom_metadata_map
    found = resolve_preprocessing(metadata=metadata, input_shape=runner.get_inputs()[0].shape)
    tensor, _ = found.preprocessing.apply(load_image(photo))
    return runner.run(None, {"image": tensor[None]})[0][0]


def test_files_are_small() -> None:
    assert bundled_model().stat().st_size <= 6_000_000
    assert bundled_photo().stat().st_size <= 40_000


def test_model_is_valid_and_clean(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [(i.domain, i.version) for i in model.opset_import] == [("", 18)]
    assert not model.graph.value_info and not model.doc_string
    assert all(not node.doc_string and not node.metadata_props for node in model.graph.node)
    raw = bundled_model().read_bytes()
    assert b"site-packages" not in raw and b".py" not in raw and b"/home" not in raw


def test_interface(model: onnx.ModelProto) -> None:
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"image": ["N", 3, 224, 224], "logits": ["N", 1000]}


def test_every_weight_is_int8_with_a_scale_for_each_output_channel(model: onnx.ModelProto) -> None:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    dequantized = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == len(dequantized) == 50
    for layer in layers:
        weight, scale = (constants[name] for name in dequantized[layer.input[1]].input)
        assert weight.data_type == onnx.TensorProto.INT8 and list(scale.dims) == [weight.dims[0]]
        assert constants[layer.input[2]].data_type == onnx.TensorProto.FLOAT


def test_metadata_is_enough_to_run_it(model: onnx.ModelProto) -> None:
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    found = resolve_preprocessing(metadata=metadata, input_shape=["N", 3, 224, 224])
    recipe = found.preprocessing
    assert (recipe.resize, recipe.size, recipe.crop, recipe.channels) == ("shortest", 256, 224, "RGB")
    low, high = recipe.value_range()
    np.testing.assert_array_equal([low.ravel(), high.ravel()], [[-127 / 128] * 3, [1] * 3])
    labels = resolve_labels(metadata=metadata, classes=1000)
    assert labels is not None and len(set(labels)) == 999  # ILSVRC has two cranes: the bird and the machine
    assert find_label(labels, "tabby cat") == 281 and labels[285] == "Egyptian cat"


def test_chelsea_is_a_cat() -> None:
    logits = scores(bundled_photo(), session())
    probability = np.exp(logits - np.logaddexp.reduce(logits))
    assert int(logits.argmax()) in CATS
    assert probability[sorted(CATS)].sum() > 0.9
    assert load_image(bundled_photo()).shape == (300, 451, 3)


def test_folding_the_dequantisation_changes_nothing() -> None:
    np.testing.assert_allclose(
        scores(bundled_photo(), session()), scores(bundled_photo(), session(folded=False)), atol=1e-4
    )


def test_batches_of_any_size() -> None:
    runner = session()
    batch = np.random.default_rng(0).standard_normal((5, 3, 224, 224)).astype(np.float32)
    together = runner.run(None, {"image": batch})[0]
    alone = np.concatenate([runner.run(None, {"image": one[None]})[0] for one in batch])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")
def test_accuracy_of_the_card() -> None:
    """36 of 38 labelled pictures right, all 38 among the first five, as the card says."""
    assert ZOO is not None
    runner, ranks = session(), []
    for table in (Path(ZOO) / "photos" / "photos.csv", Path(ZOO) / "composites" / "composites.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["imagenet_idx"]:
                    logits = scores(table.parent / row["file"], runner)
                    ranks.append(int((logits > logits[int(row["imagenet_idx"])]).sum()))
    assert len(ranks) == 38
    assert sum(rank == 0 for rank in ranks) == 36
    assert max(ranks) < 5
