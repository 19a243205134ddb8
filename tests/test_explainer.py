"""The Explainer on arrays and photos."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image

import onnxplain
from onnxplain import Explainer, Explanation, GradientError, InputError, Target

from support import small_models as small

LABELS = ["red", "green", "blue", "cat", "dog"]


@pytest.fixture(scope="module")
def photos() -> Explainer:
    return Explainer(small.quadratic(ending="Softmax", metadata=small.image_metadata()), batch_size=2)


@pytest.fixture(scope="module")
def bundled() -> Explainer:
    return Explainer()


def maps_of(gradient: np.ndarray, axis: int) -> np.ndarray:
    magnitude = np.abs(gradient).max(axis=axis)
    return magnitude / magnitude.max(axis=tuple(range(1, magnitude.ndim)), keepdims=True)


# Arrays


def test_attribution_is_the_raw_gradient() -> None:
    x, targets = small.inputs(11), np.arange(11) % 5
    found = Explainer(small.quadratic()).attribute(x, targets)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_allclose(found, small.quadratic_gradient(x, targets), rtol=1e-6)


def test_saliency_is_the_channel_maximum_of_magnitudes() -> None:
    x = small.inputs(11)
    found = np.asarray(Explainer(small.quadratic()).saliency(x, 3))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, maps_of(small.quadratic_gradient(x, [3] * 11), axis=1), rtol=1e-5)


def test_normalisation_is_passed_on() -> None:
    explainer, x = Explainer(small.quadratic()), small.inputs(2)
    raw = np.abs(small.quadratic_gradient(x, [0, 0])).max(axis=1)
    np.testing.assert_allclose(explainer.saliency(x, 0, normalize="none"), raw, rtol=1e-6)
    half = np.asarray(explainer.saliency(x, 0, normalize="percentile", percentile=50))
    assert (half == 1).mean() >= 0.5
    with pytest.raises(InputError, match="normalize"):
        explainer.saliency(x, 0, normalize="nonsense")  # type: ignore[arg-type]


def test_channels_last_models_work_like_channels_first_ones() -> None:
    x = small.inputs(3)
    first, last = Explainer(small.quadratic()), Explainer(small.quadratic_nhwc())
    moved = np.moveaxis(x, 1, -1).copy()
    np.testing.assert_allclose(
        last.attribute(moved, 1), np.moveaxis(np.asarray(first.attribute(x, 1)), 1, -1), rtol=1e-6
    )
    np.testing.assert_allclose(last.saliency(moved, 1), first.saliency(x, 1), rtol=1e-6)
    assert last.inputs[0].channel_axis == 3


def test_the_channel_axis_can_be_stated() -> None:
    x = small.inputs(2)
    found = np.asarray(Explainer(small.quadratic(), channel_axis=-1).saliency(x, 0))
    np.testing.assert_allclose(found, maps_of(small.quadratic_gradient(x, [0, 0]), axis=3), rtol=1e-5)
    for axis in (0, 4, -4):
        with pytest.raises(InputError, match=f"channel_axis={axis}.*rank 4"):
            Explainer(small.quadratic(), channel_axis=axis)


def test_integer_inputs_give_the_gradient_of_the_first_float_tensor() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8)
    explainer = Explainer(small.quadratic_uint8())
    expected = small.quadratic_gradient(x.astype(np.float32) / 255, [1, 1, 1]) / 255
    np.testing.assert_allclose(explainer.attribute(x, 1), expected, rtol=1e-5)
    assert np.asarray(explainer.saliency(x, 1)).shape == (3, 4, 4)


def test_a_dict_of_inputs_gives_a_dict() -> None:
    explainer = Explainer(small.product())
    feeds = {"a": np.full((2, 4), 3, np.float32), "b": np.full((2, 4), 5, np.float32)}
    found = explainer.attribute(feeds, [0, 2])
    assert isinstance(found, dict) and set(found) == {"a", "b"}
    assert found["a"].tolist() == [[5, 0, 0, 0], [0, 0, 5, 0]]
    assert found["b"].tolist() == [[3, 0, 0, 0], [0, 0, 3, 0]]
    maps = explainer.saliency(feeds, 1)
    assert isinstance(maps, dict) and maps["a"].tolist() == [[0, 1, 0, 0]] * 2
    one = Explainer(small.product(), wrt="b").attribute(feeds, 1)
    assert isinstance(one, dict) and list(one) == ["b"]
    single = Explainer(small.quadratic()).attribute({"x": small.inputs(1)})
    assert isinstance(single, dict) and list(single) == ["x"]


@pytest.mark.parametrize("channels_last", [False, True])
def test_signals_have_maps_over_time(channels_last: bool) -> None:
    explainer = Explainer(small.signal(channels_last))
    shape = (3, 6, 2) if channels_last else (3, 2, 6)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    gradient = np.asarray(explainer.attribute(x, 2))
    found = np.asarray(explainer.saliency(x, 2))
    assert gradient.shape == shape and found.shape == (3, 6)
    np.testing.assert_allclose(found, maps_of(gradient, axis=2 if channels_last else 1), rtol=1e-6)


def test_tables_have_one_number_per_feature() -> None:
    explainer = Explainer(small.product(), wrt="a")
    feeds = {"a": np.ones((2, 4), np.float32), "b": np.array([[1, 2, 3, 4]] * 2, np.float32)}
    assert explainer.saliency(feeds, 3)["a"].tolist() == [[0, 0, 0, 1]] * 2  # type: ignore[call-overload]


def test_scores_are_those_before_the_softmax() -> None:
    x = small.inputs(9)
    found = Explainer(small.quadratic(ending="Softmax")).scores(x)
    np.testing.assert_allclose(found, small.quadratic_scores(x), rtol=1e-5, atol=1e-5)


def test_a_differentiated_model_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "differentiated.onnx"
    path.write_bytes(onnxplain.differentiate(small.quadratic(metadata=small.image_metadata())).SerializeToString())
    explainer, x = Explainer(path), small.inputs(3)
    np.testing.assert_allclose(explainer.attribute(x, 2), small.quadratic_gradient(x, [2] * 3), rtol=1e-6)
    assert explainer.labels == LABELS
    assert explainer.explain(small.picture()).saliency.shape == (12, 16)
    with pytest.raises(InputError, match="already differentiated"):
        Explainer(path, tensor="logits")


def test_gradients_that_are_not_finite_name_the_sample() -> None:
    explainer = Explainer(small.square_root(), batch_size=2)
    x = np.ones((5, 3, 4, 4), np.float32)
    x[3, 0, 1, 1] = 0
    for call in (explainer.attribute, explainer.saliency):
        with pytest.raises(GradientError, match="image 3 "):
            call(x, Target(0, at="all"))


# Photos


def test_explaining_equals_preprocessing_by_hand(photos: Explainer) -> None:
    image = small.picture()
    found = photos.explain(image, "blue")
    tensor, _ = photos.preprocessing.preprocessing.apply(image)
    np.testing.assert_array_equal(found.attribution, np.asarray(photos.attribute(tensor[None], 2))[0])
    np.testing.assert_array_equal(found.saliency_input, np.asarray(photos.saliency(tensor[None], 2))[0])
    scores = small.quadratic_scores(tensor[None])[0]
    chances = np.exp(scores) / np.exp(scores).sum()
    assert found.score == pytest.approx(scores[2], rel=1e-5)
    assert found.probability == pytest.approx(chances[2], rel=1e-5)
    assert [one.index for one in found.top] == np.argsort(-scores).tolist()
    assert [one.probability for one in found.top] == pytest.approx(np.sort(chances)[::-1].tolist(), rel=1e-5)


@pytest.mark.parametrize("ending", ["Softmax", "LogSoftmax", "Sigmoid", None])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_probabilities_follow_the_end_of_the_model(ending: str | None, score: str) -> None:
    model = small.quadratic(ending=ending, metadata=small.image_metadata())
    explainer = Explainer(model, score=score)
    found = explainer.explain(small.picture(), 0)
    tensor, _ = explainer.preprocessing.preprocessing.apply(small.picture())
    logits = small.quadratic_scores(tensor[None])[0]
    softmax = np.exp(logits) / np.exp(logits).sum()
    expected = 1 / (1 + np.exp(-logits[0])) if ending == "Sigmoid" else softmax[0]
    assert found.probability == pytest.approx(expected, rel=1e-4)


def test_positions_have_no_probability() -> None:
    explainer = Explainer(small.square_root(), preprocessing={"resize": "exact", "size": 4, "mean": -1.0})
    found = explainer.explain(small.picture(), Target(at="all"))
    assert found.probability is None and all(one.probability is None for one in found.top)
    assert found.label is None and found.title.startswith(f"class {found.target} (score")


def test_one_position_has_a_probability() -> None:
    """Probabilities [N,4,1,1], as SqueezeNet has them."""
    model = small.any_size()
    del model.graph.node[-1], model.graph.output[0]
    model.graph.node.append(helper.make_node("Softmax", ["pooled"], ["chances"], axis=1))
    model.graph.output.append(helper.make_tensor_value_info("chances", small.FLOAT, ["N", 4, 1, 1]))
    found = Explainer(model, preprocessing="none").explain(small.picture())
    assert found.probability == pytest.approx(max(c.probability for c in found.top))
    assert sum(one.probability for one in found.top) == pytest.approx(1)


def test_one_photo_in_every_form_is_one_explanation(photos: Explainer, tmp_path: Path) -> None:
    image, path = small.picture(), tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    with path.open("rb") as file, Image.open(path) as opened:
        forms = [path, str(path), path.read_bytes(), opened, image, image / 255, file]
        found = [photos.explain(form) for form in forms]
    for one in found:
        assert isinstance(one, Explanation)
        np.testing.assert_array_equal(one.saliency, found[0].saliency)
    assert [one.source for one in found] == [str(path), str(path), None, None, None, None, None]


def test_several_photos_in_every_form_are_a_list_in_order(photos: Explainer, tmp_path: Path) -> None:
    images = [small.picture(seed=seed) for seed in range(5)]
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    expected = [photos.explain(image, 1).saliency for image in images]
    forms: list[Any] = [images, tuple(images), iter(images), np.stack(images), str(tmp_path), tmp_path]
    for form in forms:
        found = photos.explain(form, 1)
        assert isinstance(found, list)
        np.testing.assert_array_equal(np.stack([one.saliency for one in found]), np.stack(expected))
    assert photos.explain([]) == []


def test_photos_of_different_sizes_go_together() -> None:
    explainer = Explainer(small.any_size(), preprocessing="none", batch_size=4)
    sizes = [(4, 6), (4, 6), (5, 5), (4, 6)]
    found = explainer.explain([small.picture(*size) for size in sizes])
    assert [one.saliency.shape for one in found] == sizes


def test_each_photo_has_its_own_target(photos: Explainer) -> None:
    images = [small.picture(seed=seed) for seed in range(3)]
    found = photos.explain(images, ["dog", 0, "green"])
    assert [one.target for one in found] == [4, 0, 1]
    for one, image, target in zip(found, images, [4, 0, 1]):
        np.testing.assert_array_equal(one.saliency, photos.explain(image, target).saliency)
    with pytest.raises(onnxplain.TargetError, match=r"shape \[2\].*3 samples"):
        photos.explain(images, [1, 2])
    with pytest.raises(onnxplain.TargetError, match="whose number is known"):
        photos.explain(iter(images), [1, 2, 3])


def test_top_k_of_photos(photos: Explainer) -> None:
    one = photos.explain(small.picture(), "top3")
    assert [e.target for e in one] == [t.index for t in one[0].top[:3]]
    several = photos.explain([small.picture(seed=s) for s in range(3)], "top2")
    assert [len(ranked) for ranked in several] == [2, 2, 2]
    for ranked in several:
        assert ranked[0].score >= ranked[1].score
        np.testing.assert_array_equal(ranked[1].saliency, photos.explain(ranked[1].image, ranked[1].target).saliency)


def test_streaming_holds_one_micro_batch(photos: Explainer) -> None:
    loaded = []

    def sources() -> Iterator[np.ndarray]:
        for seed in range(50):
            loaded.append(seed)
            yield small.picture(seed=seed)

    stream = photos.stream(sources())
    next(stream)
    assert len(loaded) <= 3


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("onnxplain")]


def test_photos_side_by_side_are_those_one_by_one(tmp_path: Path) -> None:
    """In order, with errors in their places, whatever the number of threads."""
    model = small.quadratic(metadata=small.image_metadata())
    images: list[Any] = [small.picture(8 + seed % 5, 9 + seed % 7, seed) for seed in range(23)]
    images[7], images[20] = b"", tmp_path / "nothing.jpg"
    rows: list[list[Any]] = []
    for threads in (1, 2, 5):
        explainer, row = Explainer(model, threads=threads), list[Any]()
        for found in explainer.stream(images, "top2", on_error=lambda name, error, row=row: row.append(name)):
            row.append(found)
        rows.append(row)
        assert running() == []
    assert [len(row) for row in rows] == [23, 23, 23]
    assert [row[7] for row in rows] == ["image 7"] * 3 and [row[20] for row in rows] == [str(images[20])] * 3
    for index in (i for i in range(23) if i not in (7, 20)):
        for row in rows[1:]:
            for one, other in zip(rows[0][index], row[index]):
                np.testing.assert_array_equal(one.image, images[index])
                np.testing.assert_array_equal(other.image, images[index])
                assert one.target == other.target
                np.testing.assert_allclose(one.attribution, other.attribution, rtol=1e-5, atol=1e-6)
                np.testing.assert_allclose(one.saliency, other.saliency, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("end", ["closed", "dropped", "failed"])
def test_a_stream_that_is_left_ends_its_threads(end: str) -> None:
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()), threads=3)
    stream = explainer.stream((small.picture(seed=seed) if seed != 5 else b"" for seed in range(50)), progress=False)
    next(stream)
    assert running()
    if end == "closed":
        stream.close()  # type: ignore[attr-defined]
    elif end == "failed":
        with pytest.raises(onnxplain.ImageError, match="image 5"):
            list(stream)
    else:
        del stream
    assert running() == []


def test_streaming_can_go_on_after_errors(photos: Explainer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    errors: list[tuple[str, str]] = []
    images: list[Any] = [small.picture(seed=0), broken, small.picture(seed=1), b""]
    found = list(photos.stream(images, [0, 1, 2, 3], on_error=lambda name, error: errors.append((name, str(error)))))
    assert [one.target for one in found] == [0, 2]
    assert [name for name, _ in errors] == [str(broken), "image 3"]
    with pytest.raises(onnxplain.ImageError, match=r"broken\.png"):
        photos.explain(images)
    with pytest.raises(onnxplain.ImageError, match="image 1: "):
        photos.explain([small.picture(), b""])


def test_a_gradient_that_is_not_finite_names_the_photo(tmp_path: Path) -> None:
    explainer = Explainer(small.square_root(), preprocessing={"resize": "exact", "size": 4})
    black, grey = tmp_path / "black.png", tmp_path / "grey.png"
    Image.new("RGB", (4, 4)).save(black)
    Image.new("RGB", (4, 4), (90, 90, 90)).save(grey)
    with pytest.raises(GradientError, match=r"black\.png"):
        explainer.explain([grey, black], Target(at="all"))
    names: list[str] = []
    everywhere = Target(at="all")
    found = list(explainer.stream([black, grey], everywhere, on_error=lambda name, _: names.append(name)))
    assert names == [str(black)] and [one.source for one in found] == [str(grey)]


def test_photos_need_a_known_preprocessing_and_one_image_input() -> None:
    with pytest.raises(onnxplain.PreprocessingError, match="none is guessed"):
        Explainer(small.quadratic()).explain(small.picture())
    with pytest.raises(InputError, match=r"'a', 'b'.*pass a dict"):
        Explainer(small.product()).explain(small.picture())
    with pytest.raises(InputError, match=r"method 'nonsense'.*saliency"):
        Explainer(small.quadratic(), preprocessing="imagenet").explain(small.picture(), method="nonsense")
    with pytest.raises(InputError, match="found int"):
        Explainer(small.quadratic(metadata=small.image_metadata())).explain(3)


def test_channels_last_photos_equal_channels_first_ones() -> None:
    recipe = {"resize": "exact", "size": 4}
    first = Explainer(small.quadratic(), preprocessing=recipe).explain(small.picture(), 1)
    last = Explainer(small.quadratic_nhwc(), preprocessing=recipe).explain(small.picture(), 1)
    np.testing.assert_allclose(last.saliency, first.saliency, rtol=1e-5, atol=1e-6)
    assert last.attribution.shape == (4, 4, 3)


def test_labels_come_from_the_caller_the_metadata_or_nowhere(tmp_path: Path) -> None:
    assert Explainer(small.quadratic()).labels is None
    assert Explainer(small.quadratic(metadata=small.image_metadata())).labels == LABELS
    file = tmp_path / "labels.txt"
    file.write_text("a\nb\nc\nd\ne\n")
    assert Explainer(small.quadratic(metadata=small.image_metadata()), labels=file).labels == list("abcde")
    with pytest.raises(InputError, match=r"4 labels.*5 classes"):
        Explainer(small.quadratic(), labels=list("abcd"))
    with pytest.raises(InputError, match=r"4 labels.*5 classes"):
        Explainer(small.quadratic(metadata=small.image_metadata(labels=list("abcd"))))


def test_labels_of_the_model_are_not_those_of_an_inner_tensor() -> None:
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()), tensor="flat")
    assert explainer.labels is None and explainer.scores(small.inputs(1)).shape == (1, 48)


ZOO = os.environ.get("ONNXPLAIN_ZOO")


@pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")
@pytest.mark.slow
def test_every_photo_of_the_zoo_has_a_map_of_its_size(bundled: Explainer) -> None:
    folder = Path(ZOO or "") / "photos"
    count = 0
    for found in bundled.stream(folder, progress=False):
        assert found.saliency.shape == found.image.shape[:2]
        assert found.saliency.max() > 0
        count += 1
    assert count >= 40
