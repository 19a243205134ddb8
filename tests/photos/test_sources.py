"""Where a preprocessing is found, in which order, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxplain.errors import PreprocessingError
from onnxplain.photos import PRESETS, ModelInput, Preprocessing, resolve_preprocessing
from onnxplain.photos.preprocessing import METADATA_KEY

NCHW = ("N", 3, 224, 224)
OPEN = (None, 3, None, None)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTO = np.random.default_rng(0).integers(0, 256, (120, 170, 3), dtype=np.uint8)

VIT = {
    "do_normalize": True, "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    "resample": 2, "size": {"height": 224, "width": 224}, "do_rescale": True, "rescale_factor": 1 / 255,
    "image_processor_type": "ViTImageProcessor",
}  # fmt: skip
CLIP = {
    "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, "size": 224,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": list(MEAN), "image_std": list(STD),
}  # fmt: skip
TIMM = {
    "architecture": "resnet18",
    "pretrained_cfg": {
        "input_size": [3, 224, 224], "test_input_size": [3, 288, 288], "test_crop_pct": 0.95, "crop_pct": 0.875,
        "interpolation": "bicubic", "crop_mode": "center", "mean": list(MEAN), "std": list(STD),
    },
}  # fmt: skip


def resolved(explicit: Any = None, shape: Any = NCHW, **options: Any) -> Preprocessing:
    return resolve_preprocessing(explicit, input_shape=shape, **options).preprocessing


def test_nothing_found_lists_the_options(tmp_path: Path) -> None:
    with pytest.raises(PreprocessingError, match="imagenet, tf, caffe, clip, none") as caught:
        resolved(metadata={"author": "me"}, model_path=tmp_path / "m.onnx")
    assert "preprocessor_config.json" in str(caught.value) and "m.onnx" in str(caught.value)


def test_the_order_of_sources(tmp_path: Path) -> None:
    own = Preprocessing("exact", 224, mean=(0.1,))
    model = tmp_path / "m.onnx"
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    assert resolved(model_path=model).std == (0.5, 0.5, 0.5)
    (tmp_path / "m.preprocessing.json").write_text(Preprocessing("exact", 224, mean=(0.2,)).to_json())
    assert resolved(model_path=model).mean == (0.2, 0.2, 0.2)
    metadata = {"onnxplain.preprocessing": own.to_json(), "task": "classify", "stride": "1", "names": "{}"}
    found = resolve_preprocessing(metadata=metadata, model_path=model, input_shape=NCHW)
    assert found.preprocessing == own and "onnxplain.preprocessing" in found.source
    with pytest.warns(UserWarning, match="the two differ"):
        found = resolve_preprocessing("tf", metadata=metadata, model_path=model, input_shape=NCHW)
    assert found.preprocessing == PRESETS["tf"] and found.source == 'the preset "tf"'


def test_what_a_caller_can_give(tmp_path: Path) -> None:
    own = Preprocessing("exact", 224)
    for suffix, values in (("ours", own.to_dict()), ("vit", VIT), ("timm", TIMM)):
        path = tmp_path / f"{suffix}.json"
        path.write_text(json.dumps(values))
        assert resolved(str(path)) == resolved(path) == resolved(values)
    assert resolved(own) == own
    with pytest.raises(PreprocessingError, match=r"'imagnet' is neither a preset \(imagenet, .*\) nor a JSON file"):
        resolved("imagnet")
    with pytest.raises(PreprocessingError, match="preprocessing is a int"):
        resolved(3)
    for content, message in (("{", "not valid JSON"), ("[1]", "holds a JSON list"), ('{"a": 1}', "unknown")):
        path.write_text(content)
        with pytest.raises(PreprocessingError, match=message):
            resolved(path)


@pytest.mark.parametrize(("side", "resize"), [(224, 256), (227, 259), (299, 341), (96, 109), (32, 36), (384, 438)])
def test_presets_follow_a_fixed_size(side: int, resize: int) -> None:
    preset = resolved("imagenet", ("N", 3, side, side))
    assert (preset.size, preset.crop) == (resize, side)
    assert resolved("clip", ("N", 3, side, side)).size == side
    assert resolved("none", ("N", 3, side, side)).size == side


def test_presets_follow_layout_type_and_a_wide_input() -> None:
    preset = resolved("tf", ("N", 48, 192, 3), input_dtype="float16")
    assert (preset.layout, preset.dtype) == ("NHWC", "float16")
    tensor, geometry = preset.apply(PHOTO)
    assert tensor.shape == (48, 192, 3) and tensor.dtype == np.float16
    assert geometry.resized[0] >= 48 and geometry.resized[1] >= 192
    assert resolved("imagenet", OPEN) == PRESETS["imagenet"]


def test_a_preset_that_contradicts_the_metadata_warns() -> None:
    stated = {METADATA_KEY: PRESETS["imagenet"].to_json()}
    with pytest.warns(UserWarning, match='the preset "tf" replaces what the model\'s metadata onnxplain.preprocessing'):
        assert resolved("tf", OPEN, metadata=stated) == PRESETS["tf"]
    assert resolved("imagenet", OPEN, metadata=stated) == PRESETS["imagenet"]  # the same: no warning
    assert resolved(PRESETS["tf"], OPEN, metadata=stated) == PRESETS["tf"]  # a caller's own numbers: none
    for unreadable in ("no json", json.dumps({"resize": "nonsense"})):
        assert resolved("tf", OPEN, metadata={METADATA_KEY: unreadable}) == PRESETS["tf"]


def test_presets_for_one_channel() -> None:
    preset = resolved("imagenet", ("N", 1, 28, 28))
    assert preset.channels == "L"
    assert preset.mean == pytest.approx((sum(MEAN) / 3,)) and preset.std == pytest.approx((sum(STD) / 3,))
    assert preset.apply(PHOTO)[0].shape == (1, 28, 28)
    grey = resolved("none", ("N", 1, None, None)).apply(PHOTO)[0]
    np.testing.assert_array_equal(grey[0], np.asarray(Image.fromarray(PHOTO).convert("L")))


def test_uint8_models() -> None:
    shape = (1, 128, 128, 3)
    assert resolved("none", shape, input_dtype="uint8").dtype == "uint8"
    plain = Preprocessing("shortest", 128, crop=128, scale=1.0)
    assert resolved(plain, shape, input_dtype="uint8").apply(PHOTO)[0].dtype == np.uint8
    with pytest.raises(PreprocessingError, match="plain uint8 pixels"):
        resolved("imagenet", shape, input_dtype="uint8")
    with pytest.raises(PreprocessingError, match="int64"):
        resolved("none", shape, input_dtype="int64")


CONTRADICTIONS: dict[str, tuple[Any, Any, str]] = {
    "crop": (Preprocessing("shortest", 256, crop=224), ("N", 3, 227, 227), "224 pixels high.*fixed at 227"),
    "width": (Preprocessing("exact", (48, 100)), ("N", 3, 48, 192), "100 pixels wide.*fixed at 192"),
    "half open": (Preprocessing("exact", 32), (None, 3, 48, None), "32 pixels high.*fixed at 48"),
    "no crop": (Preprocessing("shortest", 256), ("N", 3, 224, 224), "crops nothing.*fixed at 224x224"),
    "grey": (Preprocessing("exact", 28), ("N", 1, 28, 28), r"makes 3 channel.* has 1"),
    "colour": (Preprocessing("exact", 28, channels="L"), ("N", 3, 28, 28), r"makes 1 channel.* has 3"),
    "timm": (TIMM, ("N", 3, 256, 256), "224 pixels high.*fixed at 256"),
    "rank": ("imagenet", ("N", 10), "not the four axes"),
    "no channels": ("imagenet", ("N", 5, 8, 8), "does not show which axis"),
    "both": ("imagenet", (None, 3, 32, 3), "does not show which axis"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_name_both_numbers(name: str) -> None:
    explicit, shape, message = CONTRADICTIONS[name]
    with pytest.raises(PreprocessingError, match=message):
        resolved(explicit, shape)


def test_layout_can_be_stated() -> None:
    assert ModelInput.of((None, 3, 32, 3), layout="NHWC") == ModelInput("NHWC", 3, 3, 32)
    assert ModelInput.of((1, 1, 28, 28)) == ModelInput("NCHW", 1, 28, 28)
    assert ModelInput.of((-1, "h", "w", 3)) == ModelInput("NHWC", 3, None, None)


def test_none_keeps_its_size_demand_until_a_photo_comes() -> None:
    with pytest.raises(PreprocessingError, match=r"120x170.*28x28"):
        resolved("none", ("N", 1, 28, 28)).apply(PHOTO)


def test_hugging_face_square() -> None:
    expected = Preprocessing("exact", 224, "bilinear", mean=(0.5,), std=(0.5,), crop_rounding="floor")
    assert resolved(VIT) == expected
    legacy = {key: VIT[key] for key in ("do_normalize", "do_resize", "image_mean", "image_std")} | {"size": 224}
    assert resolved(legacy | {"feature_extractor_type": "ViTFeatureExtractor"}) == expected
    with pytest.raises(PreprocessingError, match=r"resample None|names no image processor"):
        resolved(legacy)


def test_hugging_face_model_type_settles_old_files(tmp_path: Path) -> None:
    legacy = {"do_normalize": True, "do_resize": True, "image_mean": 0.5, "image_std": 0.5, "size": 224}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(legacy))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert resolved(model_path=tmp_path / "model.onnx").resize == "exact"
    (tmp_path / "onnx").mkdir()
    assert resolved(model_path=tmp_path / "onnx" / "model.onnx").resize == "exact"


def test_hugging_face_clip() -> None:
    expected = Preprocessing("shortest", 224, "bicubic", 224, crop_rounding="floor", mean=MEAN, std=STD)
    assert resolved(CLIP) == expected
    newer = CLIP | {
        "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "resample": "bicubic",
        "image_processor_type": "CLIPImageProcessorFast",
    }  # fmt: skip
    assert resolved(newer) == expected


@pytest.mark.parametrize(
    ("name", "changes", "size", "expected"),
    [
        ("ConvNext", {"crop_pct": 0.875, "size": {"shortest_edge": 224}}, 224, ("shortest", 256, 224)),
        ("ConvNext", {"size": 384}, 384, ("exact", 384, None)),
        ("Levit", {"size": {"shortest_edge": 224}, "crop_size": 224}, 224, ("shortest", 256, 224)),
        ("PoolFormer", {"size": 224, "crop_pct": 0.9, "crop_size": 224}, 224, ("shortest", 248, 224)),
        ("Bit", {"size": {"shortest_edge": 256}, "crop_size": 224}, 224, ("shortest", 256, 224)),
        ("DeiT", {"size": 256, "crop_size": 224, "do_center_crop": True}, 224, ("exact", 256, 224)),
    ],
)
def test_hugging_face_rules(name: str, changes: Any, size: int, expected: Any) -> None:
    values = {"image_processor_type": f"{name}ImageProcessor", "image_mean": 0.5, "image_std": 0.5} | changes
    found = resolved(values, ("N", 3, size, size))
    assert (found.resize, found.size, found.crop) == expected


def test_hugging_face_values() -> None:
    base = {"image_processor_type": "EfficientNetImageProcessor", "size": {"height": 224, "width": 224}}
    values = base | {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}
    low, high = resolved(values).value_range()
    np.testing.assert_allclose([low.ravel(), high.ravel()], [[-1] * 3, [1] * 3], atol=1e-12)
    twice = resolved(base | {"image_mean": MEAN, "image_std": STD, "include_top": True})
    assert twice.filter == "nearest" and twice.std == tuple(s * s for s in STD)
    raw = resolved(base | {"do_rescale": False, "do_normalize": False})
    assert (raw.scale, raw.mean) == (1.0, (0.0, 0.0, 0.0))
    mobile = {"image_processor_type": "MobileViTImageProcessor", "size": {"shortest_edge": 288}, "crop_size": 224}
    assert resolved(mobile).channels == "BGR"
    assert resolved(mobile | {"do_flip_channel_order": False}).channels == "RGB"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "class": ({"image_processor_type": "DonutImageProcessor"}, "DonutImageProcessor, whose steps are not known"),
    "step": ({"do_pad": True}, "asks for do_pad"),
    "longest": ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, "longest_edge"),
    "resample": ({"resample": 9}, "resample 9"),
    "size": ({"size": {"shortest_edge": "a"}}, "whole numbers"),
    "no std": ({"image_std": None}, "lacks image_mean or image_std"),
    "means": ({"image_mean": [0.5, 0.5]}, "mean has 2 values"),
    "text": ({"image_mean": "half"}, "image_mean is 'half'"),
    "crop": ({"crop_size": {"depth": 3}, "do_center_crop": True}, "crop_size"),
    "share": ({"image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 2}, "crop_pct is 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hugging_face_refusals(name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(PreprocessingError, match=message):
        resolved(VIT | changes)


def test_timm() -> None:
    expected = Preprocessing("shortest", 256, "bicubic", 224, mean=MEAN, std=STD)
    assert resolved(TIMM) == resolved(TIMM["pretrained_cfg"]) == resolved(TIMM, OPEN) == expected
    larger = resolved(TIMM, ("N", 3, 288, 288))
    assert (larger.size, larger.crop) == (303, 288)
    config: dict[str, Any] = dict(TIMM["pretrained_cfg"])  # type: ignore[call-overload]
    squash = resolved(config | {"crop_mode": "squash", "crop_pct": 1.0})
    assert (squash.resize, squash.size, squash.crop) == ("exact", 224, 224)
    silent = {name: value for name, value in config.items() if name not in ("interpolation", "crop_mode", "crop_pct")}
    assert resolved(silent) == expected, "timm's own defaults"
    grey = resolved(config | {"input_size": [1, 28, 28], "mean": [0.5], "std": [0.5]}, ("N", 1, 28, 28))
    assert grey.channels == "L"
    for changes, message in (
        ({"crop_mode": "border"}, "border"),
        ({"crop_border_pixels": 2}, "crop_border_pixels 2"),
        ({"input_size": [224]}, "input_size"),
        ({"mean": None}, "mean is None"),
        ({"interpolation": "area"}, "area"),
    ):
        with pytest.raises(PreprocessingError, match=message):
            resolved(config | changes)
    with pytest.raises(PreprocessingError, match="pretrained_cfg"):
        resolved({"pretrained_cfg": 3})


def test_what_timm_resolves_for_a_model() -> None:
    """The dict of ``timm.data.resolve_data_config``, as it is; sizes are cut off: 224 / 0.9 is 248.9."""
    facts = {"input_size": (3, 224, 224), "interpolation": "bicubic", "mean": MEAN, "std": STD, "crop_pct": 0.9}
    expected = Preprocessing("shortest", 248, "bicubic", 224, mean=MEAN, std=STD)
    assert resolved(facts | {"crop_mode": "center"}) == expected


def test_timm_sidecar_and_a_processor_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    found = resolve_preprocessing(model_path=tmp_path / "m.onnx", input_shape=NCHW)
    assert found.source == "config.json" and found.preprocessing.crop == 224
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(PreprocessingError, match="describes no image preprocessing"):
        resolved(model_path=tmp_path / "m.onnx")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(TIMM))
    assert resolved(model_path=tmp_path / "m.onnx").crop == 224


def test_ultralytics() -> None:
    metadata = {"task": "detect", "stride": "32", "names": "{0: 'person'}", "imgsz": "[640, 480]"}
    detect = Preprocessing("letterbox", (640, 480), pad_color=(114, 114, 114))
    assert resolved(metadata=metadata, shape=OPEN) == detect
    assert resolved(metadata=metadata, shape=(1, 3, 320, 320)).size == 320
    classify = resolved(metadata=metadata | {"task": "classify", "imgsz": "[224, 224]"}, shape=OPEN)
    assert classify == Preprocessing("shortest", 224, crop=224)
    with pytest.raises(PreprocessingError, match="task 'depth'"):
        resolved(metadata=metadata | {"task": "depth"})
    with pytest.raises(PreprocessingError, match="imgsz 'big'"):
        resolved(metadata=metadata | {"imgsz": "big"}, shape=OPEN)


def test_onnx_image_keys() -> None:
    keys = {"Image.BitmapPixelFormat": "Gray8", "Image.NominalPixelRange": "NominalRange_0_255"}
    found = resolve_preprocessing(metadata=keys, input_shape=(1, 1, 28, 28))
    assert found.preprocessing == Preprocessing("exact", 28, channels="L", scale=1.0)
    assert "stretched" in found.source
    ranges = {"Normalized_0_1": (0, 1), "Normalized_1_1": (-1, 1), "NominalRange_16_235": (16, 235)}
    for name, expected in ranges.items():
        keys = {"image.bitmappixelformat": "BGR8", "IMAGE.NOMINALPIXELRANGE": name, "Image.ColorSpaceGamma": "SRGB"}
        found = resolve_preprocessing(metadata=keys, input_shape=NCHW)
        assert found.preprocessing.channels == "BGR"
        low, high = found.preprocessing.value_range()
        np.testing.assert_allclose([low[0, 0, 0], high[0, 0, 0]], expected, atol=1e-12)
    for changes in (
        {"Image.BitmapPixelFormat": "Bgra8"},
        {"Image.NominalPixelRange": "half"},
        {"Image.ColorSpaceGamma": "Linear"},
    ):
        base = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "Normalized_0_1"}
        with pytest.raises(PreprocessingError, match="State the preprocessing yourself"):
            resolved(metadata=base | changes)
    with pytest.raises(PreprocessingError, match="names no size"):
        resolved(metadata=base, shape=OPEN)


@pytest.mark.parametrize("text", ["{", "[]", '{"resize": "exact"}', '{"version": 3}'])
def test_damaged_metadata_is_an_error_and_nothing_else_is_asked(text: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    with pytest.raises(PreprocessingError):
        resolved(metadata={"onnxplain.preprocessing": text}, model_path=tmp_path / "m.onnx")
