"""Whose axis 0 is the batch: inputs with another one stay whole, and samples that need each other are told apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, OnnxplainError
from onnxplain.errors import BatchWarning

from support import small_models as small

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
W = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
IMAGES = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)
TEXTS = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)


def pairs(images: str = "images", texts: str = "texts") -> onnx.ModelProto:
    """Two towers, as CLIP: logits [images,texts] = (image * image @ W) . text, and their transposition."""
    nodes = [
        helper.make_node("Mul", ["image", "image"], ["squares"]),
        helper.make_node("MatMul", ["squares", "W"], ["embedded"]),
        helper.make_node("Transpose", ["text"], ["columns"], perm=[1, 0]),
        helper.make_node("MatMul", ["embedded", "columns"], ["per_image"]),
        helper.make_node("Transpose", ["per_image"], ["per_text"], perm=[1, 0]),
    ]
    return small.build(
        nodes,
        [("image", FLOAT, [images, 3]), ("text", FLOAT, [texts, 4])],
        [("per_image", FLOAT, [images, texts]), ("per_text", FLOAT, [texts, images])],
        {"W": W},
    )


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("texts", [3, 2])
def test_texts_are_not_split_with_the_images(texts: int, batch_size: int | None) -> None:
    """Every image is compared with all texts, however many images run at once."""
    explainer = Explainer(pairs(), wrt="image", batch_size=batch_size)
    feeds = {"image": IMAGES, "text": TEXTS[:texts]}
    np.testing.assert_allclose(explainer.scores(feeds), IMAGES**2 @ W @ TEXTS[:texts].T, rtol=1e-5)
    found = np.asarray(explainer.attribute(feeds, [1, 0, 1])["image"])  # type: ignore[call-overload]
    np.testing.assert_allclose(found, 2 * IMAGES * (W @ TEXTS[[1, 0, 1]].T).T, rtol=1e-5)


def test_images_are_not_split_with_the_texts() -> None:
    """The other output has the texts as its batch, and every image is a class."""
    explainer = Explainer(pairs(), tensor="per_text", wrt="text", batch_size=1)
    feeds = {"image": IMAGES[:2], "text": TEXTS}
    found = np.asarray(explainer.attribute(feeds, [1, 0, 0])["text"])  # type: ignore[call-overload]
    np.testing.assert_allclose(found, (IMAGES**2 @ W)[[1, 0, 0]], rtol=1e-5)


def test_inputs_with_the_same_batch_are_split_together() -> None:
    """What is right for two towers must stay so for two inputs of one sample."""
    rng = np.random.default_rng(3)
    feeds = {"a": rng.standard_normal((3, 4)).astype(np.float32), "b": rng.standard_normal((3, 4)).astype(np.float32)}
    found: Any = Explainer(small.product(), batch_size=1).attribute(feeds, [0, 3, 1])
    one_hot = np.eye(4)[[0, 3, 1]]
    np.testing.assert_allclose(found["a"], one_hot * feeds["b"], rtol=1e-6)
    np.testing.assert_allclose(found["b"], one_hot * feeds["a"], rtol=1e-6)


def unless_refused(call: Callable[[], Any], *words: str) -> Any:
    """What ``call`` returns; None where it is refused for a reason that has one of these words."""
    try:
        return call()
    except OnnxplainError as error:
        reason = str(error)
    assert any(word in reason for word in words), reason
    return None


def centred(training: bool) -> onnx.ModelProto:
    """x less its mean over the samples, squared, @ W: as it stands, or a batch normalization in training mode."""
    constants = {"W": W, "axes": np.array([0])}
    if training:
        constants |= {name: np.full(3, value, np.float32) for name, value in (("one", 1), ("zero", 0))}
        nodes = [
            helper.make_node(
                "BatchNormalization", ["x", "one", "zero", "zero", "one"], ["c", "mean", "var"], training_mode=1
            )
        ]
    else:
        nodes = [helper.make_node("ReduceMean", ["x", "axes"], ["m"]), helper.make_node("Sub", ["x", "m"], ["c"])]
    nodes += [
        helper.make_node("Mul", ["c", "c"], ["squares"]),
        helper.make_node("MatMul", ["squares", "W"], ["logits"]),
    ]
    return small.build(nodes, [("x", FLOAT, ["N", 3])], [("logits", FLOAT, ["N", 4])], constants)


def explained(model: onnx.ModelProto, batch_size: int) -> np.ndarray:
    return np.asarray(Explainer(model, batch_size=batch_size).attribute(IMAGES, 2))


@pytest.mark.parametrize("training", [False, True], ids=["mean over the batch", "batch statistics"])
def test_samples_that_influence_each_other(training: bool) -> None:
    """Either refused, or said in a warning and then independent of how many samples run at once."""
    found = []
    for batch_size in (1, 3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found.append(unless_refused(partial(explained, centred(training), batch_size), "samples"))
        assert found[-1] is None or any("samples" in str(one.message) for one in caught)
    if found[0] is None:
        assert found[1] is None
    else:
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_a_fixed_batch_of_samples_that_influence_each_other_is_not_filled_up() -> None:
    """A model of exactly 4 samples, given 3: the mean over copies of the last is not that over the three."""
    model = centred(False)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    with pytest.warns(BatchWarning, match="samples"):
        explainer = Explainer(model)
    with pytest.raises(OnnxplainError, match="samples"):
        explainer.attribute(IMAGES, 2)


def test_a_batch_that_no_name_and_no_path_tells() -> None:
    """Scores [3,3] of a fixed batch in axis 1: nothing but the graph says that axis 0 counts classes."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("Transpose", ["squares"], ["columns"], perm=[1, 0]),
        helper.make_node("MatMul", ["V", "columns"], ["logits"]),
    ]
    v = np.random.default_rng(4).standard_normal((3, 3)).astype(np.float32)
    model = small.build(nodes, [("x", FLOAT, [3, 3])], [("logits", FLOAT, [3, 3])], {"V": v})
    found = unless_refused(lambda: Explainer(model).attribute(IMAGES, [2, 0, 1]), "batch")
    if found is not None:
        np.testing.assert_allclose(found, 2 * IMAGES * v[[2, 0, 1]], rtol=1e-5)


NOISY: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 3, "seed": 2},
    "integrated_gradients": {"steps": 4},
    "occlusion": {},
    "rise": {"masks": 20},
}


@pytest.mark.filterwarnings("ignore::onnxplain.errors.BatchWarning")
@pytest.mark.parametrize("method", NOISY)
def test_methods_run_such_samples_together_and_nothing_else(method: str) -> None:
    """The copies of samples that a method makes are run as batches of all samples, each as often as without copies."""
    found = [
        np.asarray(Explainer(centred(False), batch_size=size).attribute(IMAGES, 2, method, **NOISY[method]))
        for size in (1, 2, None)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    if method == "occlusion":
        x = np.repeat(IMAGES[None], 3, axis=0)
        x[[0, 1, 2], :, [0, 1, 2]] = 0
        c = x - x.mean(axis=1, keepdims=True)
        whole = IMAGES - IMAGES.mean(axis=0)
        np.testing.assert_allclose(found[0], ((whole**2 @ W)[:, 2] - (c**2 @ W)[..., 2]).T, rtol=1e-3, atol=1e-5)


def stateful() -> onnx.ModelProto:
    """x [N,3] and a state h [2,N,3] -> logits (x * h[0] + h[1]) @ W, as recurrent networks have them."""
    nodes = [
        helper.make_node("Split", ["h", "halves"], ["h0", "h1"], axis=0),
        helper.make_node("Squeeze", ["h0", "first"], ["a"]),
        helper.make_node("Squeeze", ["h1", "first"], ["b"]),
        helper.make_node("Mul", ["x", "a"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum"]),
        helper.make_node("MatMul", ["sum", "W"], ["logits"]),
    ]
    inputs: list[small.Spec] = [("x", FLOAT, ["N", 3]), ("h", FLOAT, [2, "N", 3])]
    constants = {"W": W, "halves": np.array([1, 1]), "first": np.array([0])}
    return small.build(nodes, inputs, [("logits", FLOAT, ["N", 4])], constants)


@pytest.mark.parametrize("method", ["saliency", "smoothgrad", "occlusion"])
@pytest.mark.parametrize("batch_size", [None, 1])
def test_states_with_the_samples_on_their_second_axis(batch_size: int | None, method: str) -> None:
    h = np.random.default_rng(5).standard_normal((2, 3, 3)).astype(np.float32)
    explainer = Explainer(stateful(), wrt="x", batch_size=batch_size)
    found: Any = explainer.attribute({"x": IMAGES, "h": h}, [1, 2, 0], method)
    expected = h[0] * W[:, [1, 2, 0]].T
    np.testing.assert_allclose(found["x"], expected * (IMAGES if method == "occlusion" else 1), rtol=1e-4, atol=1e-5)
    with pytest.raises(OnnxplainError, match="different numbers of samples"):
        explainer.attribute({"x": IMAGES, "h": h[:, :2]}, [1, 2, 0])


def test_batches_without_names_are_one() -> None:
    """tf2onnx calls the batches of two inputs unk__330 and unk__331."""
    model = small.product()
    for value, name in zip(model.graph.input, ("unk__330", "unk__331")):
        value.type.tensor_type.shape.dim[0].dim_param = name
    rng = np.random.default_rng(3)
    feeds = {"a": rng.standard_normal((3, 4)).astype(np.float32), "b": rng.standard_normal((3, 4)).astype(np.float32)}
    found: Any = Explainer(model, batch_size=1).attribute(feeds, [0, 3, 1])
    np.testing.assert_allclose(found["a"], np.eye(4)[[0, 3, 1]] * feeds["b"], rtol=1e-6)
