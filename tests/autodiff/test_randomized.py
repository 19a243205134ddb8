"""Copies of models with random weights: all weights change, from the score down, reproducibly, and nothing else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxplain
from onnxplain import InputError, ModelError
from onnxplain.autodiff.randomized import randomized_models

from support import small_models as small

GENERATOR = np.random.default_rng(0)


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def network() -> onnx.ModelProto:
    """Quantised Conv, BatchNormalization, Resize, PRelu, Conv shared twice, bias of its own, Gemm."""
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scales"], ["kernel"], axis=0, name="dequantize"),
        helper.make_node("Conv", ["x", "kernel", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "gamma", "beta", "mean", "var"], ["n1"], name="norm1"),
        helper.make_node("Resize", ["n1", "", "sizes"], ["r1"], name="resize", mode="nearest"),
        helper.make_node("PRelu", ["r1", "slope"], ["p1"], name="prelu"),
        helper.make_node("Conv", ["p1", "shared"], ["c2"], name="conv2"),
        helper.make_node("Conv", ["c2", "shared"], ["c3"], name="conv3"),
        helper.make_node("Add", ["c3", "bias"], ["a3"], name="bias3"),
        helper.make_node("GlobalAveragePool", ["a3"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w", "b"], ["logits"], name="gemm"),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax"),
        helper.make_node("Mul", ["g", "aside"], ["other"], name="aside"),
    ]
    normal = GENERATOR.standard_normal
    constants = {
        "codes": GENERATOR.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "scales": GENERATOR.uniform(0.01, 0.02, 4).astype(np.float32),
        "b1": normal(4).astype(np.float32),
        "gamma": normal(4).astype(np.float32),
        "beta": normal(4).astype(np.float32),
        "mean": normal(4).astype(np.float32),
        "var": GENERATOR.uniform(0.5, 2, 4).astype(np.float32),
        "sizes": np.array([1, 1, 2, 3], np.float32),
        "slope": normal((4, 1, 1)).astype(np.float32),
        "shared": normal((4, 4, 1, 1)).astype(np.float32),
        "bias": normal((1, 4, 1, 1)).astype(np.float32),
        "w": normal((4, 5)).astype(np.float32),
        "b": np.zeros(5, np.float32),
        "aside": normal((1, 4, 1, 1)).astype(np.float32),
    }
    return small.build(
        nodes,
        [("x", small.FLOAT, ["N", 3, 4, 4])],
        [("probabilities", small.FLOAT, ["N", 5]), ("other", small.FLOAT, ["N", 4, 1, 1])],
        constants,
    )


#: Layer -> its weights, from the score down.
LAYERS = {
    "gemm": {"w"},
    "bias3": {"bias"},
    "conv3": {"shared"},
    "prelu": {"slope"},
    "norm1": {"gamma", "beta", "mean", "var"},
    "conv1": {"codes", "scales", "b1"},
}
FIXED = {"sizes", "b", "aside"}


def changed(before: onnx.ModelProto, after: onnx.ModelProto) -> set[str]:
    old, new = weights(before), weights(after)
    return {name for name in old if not np.array_equal(old[name], new[name])}


def test_cascading_goes_from_the_score_down_and_reaches_every_weight() -> None:
    model = network()
    expected: set[str] = set()
    found = list(randomized_models(model))
    assert [name for name, _ in found] == list(LAYERS)
    for name, copy in found:
        expected |= LAYERS[name]
        assert changed(model, copy) == expected
        onnx.checker.check_model(copy, full_check=True)
    assert expected | FIXED == set(weights(model))


def test_independent_randomisation_changes_one_layer() -> None:
    model = network()
    assert {name: changed(model, copy) for name, copy in randomized_models(model, cascading=False)} == LAYERS


def test_weights_are_permuted_within_themselves() -> None:
    model = network()
    *_, (_, copy) = randomized_models(model)
    old, new = weights(model), weights(copy)
    for name in set(old) - FIXED:
        assert old[name].dtype == new[name].dtype and old[name].shape == new[name].shape
        np.testing.assert_array_equal(np.sort(old[name], axis=None), np.sort(new[name], axis=None))


def test_the_seed_decides_and_both_modes_draw_alike() -> None:
    model = network()
    *_, (_, first) = randomized_models(model, seed=3)
    *_, (_, again) = randomized_models(model, seed=3)
    *_, (_, other) = randomized_models(model, seed=4)
    assert changed(first, again) == set()
    assert {"codes", "w", "shared"} <= changed(first, other)
    *_, (_, alone) = randomized_models(model, seed=3, cascading=False)
    np.testing.assert_array_equal(weights(alone)["codes"], weights(first)["codes"])


def test_stages_are_spread_evenly_and_end_at_the_bottom() -> None:
    assert [name for name, _ in randomized_models(network(), stages=3)] == ["gemm", "prelu", "conv1"]
    assert [name for name, _ in randomized_models(network(), stages=1)] == ["conv1"]
    assert len(list(randomized_models(network(), stages=99))) == len(LAYERS)
    model = network()
    *_, (_, staged) = randomized_models(model, stages=2)
    *_, (_, whole) = randomized_models(model)
    assert changed(staged, whole) == set()


def test_output_names_what_is_explained() -> None:
    names = [name for name, _ in randomized_models(network(), tensor="other")]
    assert names[0] == "aside" and "gemm" not in names


def test_the_model_itself_is_never_changed(tmp_path) -> None:
    model = network()
    before = model.SerializeToString()
    list(randomized_models(model))
    assert model.SerializeToString() == before
    path = tmp_path / "model.onnx"
    path.write_bytes(before)
    assert changed(model, next(iter(randomized_models(path)))[1]) == {"w"}


def test_weights_in_constants_recurrent_layers_and_masks() -> None:
    """Constant nodes hold weights too, an LSTM is one layer, and a mask with infinities is none."""
    lstm = {"W": (1, 8, 3), "R": (1, 8, 2), "B": (1, 16)}
    constants = {name: GENERATOR.standard_normal(shape).astype(np.float32) for name, shape in lstm.items()}
    mask = np.where(np.arange(4) < 2, 0, -np.inf).astype(np.float32).reshape(4, 1, 1)
    head = numpy_helper.from_array(GENERATOR.standard_normal((2, 3)).astype(np.float32))
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["y4"], name="lstm", hidden_size=2),
        helper.make_node("Squeeze", ["y4", "one"], ["y"], name="squeeze"),
        helper.make_node("Add", ["y", "mask"], ["masked"], name="masking"),
        helper.make_node("Softmax", ["masked"], ["shares"], axis=0, name="shares"),
        helper.make_node("ReduceSum", ["shares", "zero"], ["pooled"], keepdims=0, name="sum"),
        helper.make_node("Constant", [], ["head"], value=head, name="constant"),
        helper.make_node("MatMul", ["pooled", "head"], ["logits"], name="matmul"),
    ]
    indices = {"one": np.array([1]), "zero": np.array([0]), "mask": mask}
    model = small.build(
        nodes, [("x", small.FLOAT, [4, "N", 3])], [("logits", small.FLOAT, ["N", 3])], {**constants, **indices}
    )
    (top, first), (bottom, last) = randomized_models(model)
    assert (top, bottom) == ("matmul", "lstm")
    assert changed(model, first) == set() and not np.array_equal(weights(first)["head"], numpy_helper.to_array(head))
    assert changed(model, last) == {"W", "R", "B"}


def test_gradients_change_where_weights_did() -> None:
    model, x = network(), small.inputs(2)
    before = onnxplain.Explainer(model).attribute(x, 1)
    for layer, copy in randomized_models(model, cascading=False):
        after = onnxplain.Explainer(copy).attribute(x, 1)
        assert after.shape == before.shape and np.isfinite(after).all()
        assert np.allclose(after, before, rtol=1e-3) == (layer == "bias3")  # the score is linear in this one


def test_models_without_weights_and_bad_arguments_are_refused() -> None:
    with pytest.raises(ModelError, match="no weights"):
        randomized_models(small.product())
    with pytest.raises(InputError, match="stages"):
        randomized_models(network(), stages=0)
    with pytest.raises(InputError, match="nonsense"):
        randomized_models(network(), tensor="nonsense")
