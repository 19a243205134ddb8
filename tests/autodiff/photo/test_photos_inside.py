"""Files that take photos: the tensor is that of ``Preprocessing.apply``, the map that of ``Geometry.to_photo``."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

from onnxplain import (
    Box,
    Explainer,
    InputError,
    Preprocessing,
    PreprocessingError,
    Target,
    differentiate,
    find_preprocessing,
)
from onnxplain.bundled import bundled_model, bundled_photo

from support import small_models as small
from support.graphs import FLOAT, build, names, run

UINT8 = onnx.TensorProto.UINT8


def squares(shape: tuple[int | str, ...], kind: int = FLOAT) -> onnx.ModelProto:
    """y = x * x, and x itself as an output."""
    nodes = [helper.make_node("Mul", ["f", "f"], ["y"]), helper.make_node("Identity", ["x"], ["tensor"])]
    nodes.insert(0, helper.make_node("Cast", ["x"], ["f"], to=FLOAT))
    return build(nodes, [("x", kind, list(shape))], [("y", FLOAT, list(shape)), ("tensor", kind, list(shape))])


def photos(height: int, width: int, count: int = 1) -> NDArray[np.uint8]:
    """Photos with smooth parts and noise, [N,H,W,3]."""
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (count, -(-height // 5), -(-width // 5), 3), dtype=np.uint8)
    smooth = coarse.repeat(5, axis=1).repeat(5, axis=2)[:, :height, :width].copy()
    smooth[:, ::3] = rng.integers(0, 256, smooth[:, ::3].shape)
    return smooth


def taking(recipe: Preprocessing, shape: tuple[int | str, ...], kind: int = FLOAT) -> onnx.ModelProto:
    model = differentiate(squares(shape, kind), target="cotangent", with_preprocessing=recipe)
    onnx.checker.check_model(model, full_check=True)
    assert names(model.graph.input)[0] == "photo" and {o.domain for o in model.opset_import} == {""}
    return model


RECIPES = {
    "imagenet": Preprocessing("shortest", 40, "bilinear", 32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "bicubic, floor": Preprocessing("shortest", 37, "bicubic", 32, crop_rounding="floor"),
    "lanczos, ceil": Preprocessing("shortest", (41, 39), "lanczos", 32, crop_rounding="ceil"),
    "exact box": Preprocessing("exact", 32, "box", scale=1.0, mean=(127.0,), std=(128.0,)),
    "exact hamming": Preprocessing("exact", 32, "hamming", invert=True),
    "nearest, BGR": Preprocessing("shortest", 40, "nearest", 32, channels="BGR", mean=(0.1, 0.2, 0.3)),
    "letterbox": Preprocessing("letterbox", 32, "bilinear", pad_color=(114, 30, 7)),
    "letterbox, then a crop": Preprocessing("letterbox", 40, "bilinear", 32, pad_color=(1, 2, 3), channels="BGR"),
    "no resize, crop and pad": Preprocessing("none", crop=32, pad_color=(9, 9, 200), scale=1.0),
    "a crop beyond the resize": Preprocessing("shortest", 20, "bicubic", 32, pad_color=(0, 255, 0)),
    "grey": Preprocessing("shortest", 40, "bilinear", 32, channels="L", pad_color=(10, 20, 30)),
    "grey letterbox": Preprocessing("letterbox", 32, "bicubic", channels="L", pad_color=(10, 20, 30)),
}
SIZES = [(32, 32), (40, 40), (100, 61), (33, 90), (25, 19), (300, 7), (64, 517)]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_tensor_is_that_of_pillow(recipe: Preprocessing) -> None:
    """To rounding: one pixel in fifty is off by a step, where a sum is half a step, as for resizes from 32 to 40.

    The second of the two resamplings can make two steps of that. "nearest" is equal, but for positions between two
    pixels, where rounding errors of Pillow's decide.
    """
    model = taking(recipe, ("N", recipe.channel_count, 32, 32))
    step = np.abs(recipe.scale / np.array(recipe.std)).reshape(-1, 1, 1) * 1.001 + 1e-6
    off = count = 0
    for size in SIZES:
        if recipe.filter == "nearest" and size in [(32, 32), (64, 517)]:
            continue
        x = photos(*size, count=2)
        cotangent = np.ones((2, recipe.channel_count, 32, 32), np.float32)
        found = run(model, photo=x, cotangent=cotangent)["tensor"]
        for one, photo in zip(found, x):
            difference = np.abs(one - recipe.apply(photo)[0])
            assert (difference <= 2 * step).all(), size
            off, count = off + int((difference > step * 1e-2).sum()), count + difference.size
    assert off <= count / 50


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_map_is_in_the_pixels_of_the_photo(recipe: Preprocessing) -> None:
    model = taking(recipe, ("N", recipe.channel_count, 32, 32))
    for size in SIZES:
        x = photos(*size)
        cotangent = np.random.default_rng(0).standard_normal((1, recipe.channel_count, 32, 32)).astype(np.float32)
        found = run(model, photo=x, cotangent=cotangent)
        over_input = np.abs(2 * found["tensor"] * cotangent).max(axis=1)[0]
        expected = recipe.geometry(*size).to_photo(over_input / (over_input.max() or 1))
        assert found["saliency_photo"].shape == (1, *size)
        np.testing.assert_allclose(found["saliency_photo"][0], expected, atol=2e-6)


def test_a_tensor_of_channels_last() -> None:
    recipe = RECIPES["imagenet"]
    x = photos(50, 70)
    found = run(taking(recipe, ("N", 32, 32, 3)), photo=x, cotangent=np.ones((1, 32, 32, 3), np.float32))
    np.testing.assert_allclose(found["tensor"][0].transpose(2, 0, 1), recipe.apply(x[0])[0], atol=0.02)
    assert found["saliency_photo"].shape == (1, 50, 70)


def test_a_model_that_takes_pixels() -> None:
    recipe = Preprocessing("exact", 32, "bilinear", scale=1.0)
    x = photos(50, 70)
    found = run(taking(recipe, ("N", 3, 32, 32), UINT8), photo=x, cotangent=np.ones((1, 3, 32, 32), np.float32))
    assert found["tensor"].dtype == np.uint8 and found["saliency_photo"].shape == (1, 50, 70)
    assert np.abs(found["tensor"][0].astype(int) - recipe.apply(x[0])[0].astype(int)).max() <= 1


@pytest.mark.parametrize("shape", [("N", 3, "h", "w"), ("N", "c", "h", "w"), (None, None, None, None)])
def test_what_a_model_leaves_open_is_what_the_recipe_makes(shape: tuple[int | str, ...]) -> None:
    model = differentiate(squares(shape), target="cotangent", with_preprocessing=RECIPES["imagenet"], channel_axis=1)
    (y,) = (v for v in model.graph.output if v.name == "y")
    assert [d.dim_value for d in y.type.tensor_type.shape.dim] == [0, 3, 32, 32]
    photo = model.graph.input[0].type.tensor_type
    assert photo.elem_type == UINT8
    assert [d.dim_param or d.dim_value for d in photo.shape.dim][1:] == ["photo_height", "photo_width", 3]


def test_without_resize_and_crop_the_photo_has_the_size_of_the_tensor() -> None:
    recipe = Preprocessing(scale=1.0)
    fixed = taking(recipe, ("N", 3, 20, 24)).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in fixed] == [0, 20, 24, 3]
    x = photos(20, 31)
    found = run(taking(recipe, ("N", 3, "h", "w")), photo=x, cotangent=np.ones((1, 3, 20, 31), np.float32))
    np.testing.assert_array_equal(found["tensor"][0], recipe.apply(x[0])[0])
    assert found["saliency_photo"].shape == (1, 20, 31)


def test_the_shorter_side_alone() -> None:
    recipe = Preprocessing("shortest", 32, "bilinear")
    x = photos(50, 70)
    expected, geometry = recipe.apply(x[0])
    cotangent = np.ones((1, *expected.shape), np.float32)
    found = run(taking(recipe, ("N", 3, "h", "w")), photo=x, cotangent=cotangent)
    np.testing.assert_allclose(found["tensor"][0], expected, atol=0.004)
    assert found["tensor"].shape == (1, 3, *geometry.resized)


def test_photos_of_one_size_make_a_static_file() -> None:
    static = {"N": 1, "photo_height": 60, "photo_width": 45}
    recipe = RECIPES["letterbox"]
    model = differentiate(squares(("N", 3, 32, 32)), target="cotangent", with_preprocessing=recipe, static=static)
    assert not {"Shape", "Range", "Round", "Where"} & {node.op_type for node in model.graph.node}
    for value in [*model.graph.input, *model.graph.output]:
        assert all(d.dim_value for d in value.type.tensor_type.shape.dim), value.name
    x = photos(60, 45)
    found = run(model, photo=x, cotangent=np.ones((1, 3, 32, 32), np.float32))
    np.testing.assert_allclose(found["tensor"][0], recipe.apply(x[0])[0], atol=0.004)


LAYOUT = {"name": "yolov8", "axis": 2}


def test_boxes_are_in_the_pixels_of_the_photo() -> None:
    """The detection that overlaps the box most is explained: found with the box in the photo's pixels."""
    recipe = Preprocessing("letterbox", 32, "bilinear", pad_color=(0, 0, 0))
    centres = np.array([[8.0, 16.0], [24.0, 16.0], [16.0, 8.0]], np.float32)
    boxes = np.concatenate([centres, np.full((3, 2), 6, np.float32)], axis=1)
    rows = np.concatenate([boxes, np.full((3, 1), 0.5, np.float32)], axis=1)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "last"], ["m3"]),
        helper.make_node("Mul", ["m3", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "rows"], ["y"]),
    ]
    constants = {"last": np.array([1, 2]), "zero": np.zeros((1, 5, 1), np.float32), "rows": rows.T[None].copy()}
    model = build(nodes, [("x", FLOAT, ["N", 3, 32, 32])], [("y", FLOAT, ["N", 5, 3])], constants, opset=13)
    made = differentiate(model, Target(at=Box(0, 0, 1, 1)), layout=LAYOUT, with_preprocessing=recipe)
    x = photos(64, 128)  # a quarter of its size, 8 rows of padding above
    for index, (cx, cy) in enumerate(centres):
        box = np.array([[4 * (cx - 3), 4 * (cy - 3 - 8), 4 * (cx + 3), 4 * (cy + 3 - 8)]], np.float32)
        assert run(made, photo=x, target=np.array([0]), box=box)["at"] == [[index]]


def test_names_that_the_model_has_are_left_to_it() -> None:
    nodes = [helper.make_node("Mul", ["photo", "photo"], ["y"])]
    model = build(nodes, [("photo", FLOAT, ["N", 3, 32, 32])], [("y", FLOAT, ["N", 3, 32, 32])])
    made = differentiate(model, target="cotangent", with_preprocessing=RECIPES["imagenet"])
    assert names(made.graph.input) == ["photo_2", "cotangent"]
    assert names(made.graph.output) == ["y", "saliency_photo_2", "grad_photo"]


def test_the_bundled_model_gives_the_map_of_pythons_pipeline() -> None:
    """To 2 % of the maximum in the mean, for photos of several sizes; resized by Pillow there, in the graph here."""
    path = bundled_model()
    made = differentiate(path, with_preprocessing=find_preprocessing(path), form="cpu")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    explainer = Explainer(path, cache=False)
    photo = Image.open(bundled_photo()).convert("RGB")
    for size in (photo.size, (200, 300), (640, 480)):
        x = np.asarray(photo.resize(size, Image.Resampling.BICUBIC))
        expected = explainer.explain(x, 281).saliency
        score, found = session.run(["score", "saliency_photo"], {"photo": x[None], "target": np.array([281])})
        assert found.shape == (1, *x.shape[:2])
        assert np.abs(found[0] - expected).mean() <= 0.02 * expected.max()
        np.testing.assert_allclose(score, explainer.explain(x, 281).score, atol=0.05)


# What is refused.


@pytest.mark.parametrize(
    ("recipe", "shape", "message"),
    [
        (RECIPES["imagenet"], ("N", 3, 33, 32), "makes 32 rows, but 'x' takes 33"),
        (RECIPES["imagenet"], ("N", 3, 32, 31), "makes 32 columns, but 'x' takes 31"),
        (RECIPES["imagenet"], ("N", 1, 32, 32), "makes 3 channels, but 'x' takes 1"),
        (Preprocessing("shortest", 32), ("N", 3, 32, 32), "size depends on the photo"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(
    recipe: Preprocessing, shape: tuple[int | str, ...], message: str
) -> None:
    with pytest.raises(PreprocessingError, match=message):
        differentiate(squares(shape), target="cotangent", with_preprocessing=recipe)


def test_scaled_pixels_are_refused_where_the_model_takes_plain_ones() -> None:
    with pytest.raises(PreprocessingError, match="plain uint8"):
        differentiate(squares(("N", 3, 32, 32), UINT8), target="cotangent", with_preprocessing=RECIPES["imagenet"])


@pytest.mark.parametrize("static", [{"h": 40}, {"photo_height": 40}])
def test_sizes_that_contradict_the_recipe_are_refused(static: dict[str, int]) -> None:
    recipe = Preprocessing("none", 32)
    with pytest.raises(InputError, match="is 40, but the preprocessing"):
        differentiate(squares(("N", 3, "h", "w")), target="cotangent", with_preprocessing=recipe, static=static)


def test_a_model_without_images_is_refused() -> None:
    model = build([helper.make_node("Mul", ["x", "x"], ["y"])], [("x", FLOAT, ["N", 3])], [("y", FLOAT, ["N", 3])])
    with pytest.raises(InputError, match="found none"):
        differentiate(model, with_preprocessing=RECIPES["imagenet"])


def test_a_name_is_no_preprocessing_but_finds_one() -> None:
    with pytest.raises(InputError, match="find_preprocessing"):
        differentiate(small.quadratic(), with_preprocessing="imagenet")  # type: ignore[arg-type]
    found = find_preprocessing(small.quadratic(), "imagenet")
    assert (found.size, found.crop, found.layout) == (4, 4, "NCHW")
    with pytest.raises(PreprocessingError, match="no preprocessing is stated"):
        find_preprocessing(small.quadratic())


def test_an_explainer_takes_the_original_and_says_so() -> None:
    made = differentiate(small.quadratic(), with_preprocessing=find_preprocessing(small.quadratic(), "imagenet"))
    with pytest.raises(InputError, match="takes photos itself"):
        Explainer(made)
