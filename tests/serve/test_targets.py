"""Targets out of JSON, and sizes and models of the command line."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxplain
from onnxplain import Box, ImageError, InputError, TargetError
from onnxplain.serve.settings import Settings, is_loopback, parse_models, parse_size
from onnxplain.serve.targets import TargetReader
from onnxplain.serve.work import Entry, Limits, Order, Worker

from support.small_models import image_metadata, picture, quadratic


def written(pixels: np.ndarray) -> dict[str, str]:
    """A PNG as a request has it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"b64": base64.b64encode(file.getvalue()).decode()}


PHOTO = written(np.full((4, 6, 3), 255, np.uint8))
READER = TargetReader(lambda image: np.float32([image.shape[0], image.shape[1]]), max_pixels=100, most=32)


@pytest.mark.parametrize(
    ("value", "field", "same"),
    [
        (None, "of", None),
        ("tabby", "of", "tabby"),
        (3, "of", 3),
        ({"of": 1, "at": [2, 3]}, "at", (2, 3)),
        ({"of": 1, "at": -1}, "at", -1),
        ({"at": "own"}, "at", "own"),
        ({"of": 1, "versus": 2}, "versus", 2),
        ({"of": 1, "output": "b"}, "output", "b"),
    ],
)
def test_fields(value: Any, field: str, same: Any) -> None:
    assert getattr(READER.target(value), field) == same


def test_places_and_references() -> None:
    box = READER.target({"of": 1, "at": {"box": [1, 2, 3, 4]}}).at
    assert isinstance(box, Box) and box == Box(1, 2, 3, 4)
    mask = READER.target({"at": {"mask": PHOTO}}).at
    assert isinstance(mask, np.ndarray) and mask.shape == (4, 6) and mask.min() == 1
    assert np.array_equal(READER.target({"at": {"mask": [[0, 1]]}}).at, [[0, 1]])
    assert np.array_equal(READER.target({"like": PHOTO}).like, [4, 6])
    pair = READER.target({"like": [1, 2], "versus": {"like": [3, 4]}})
    assert np.array_equal(pair.versus.like, [3, 4])


def test_a_mask_is_white_and_opaque() -> None:
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :, :3] = [[255], [255], [0], [0]]
    pixels[0, :, 3] = [255, 0, 255, 0]
    np.testing.assert_array_equal(READER.target({"at": {"mask": written(pixels)}}).at, [[1, 0, 0, 0]])


@pytest.mark.parametrize("asked", [{"at": {"mask": written(np.ones((11, 10), np.uint8))}}, {"like": PHOTO}])
def test_photos_of_targets_have_a_limit(asked: Any) -> None:
    reader = TargetReader(lambda image: np.float32([1, 2]), max_pixels=20, most=3)
    with pytest.raises(ImageError, match="more than the limit of 20"):
        reader.target(asked)


def test_several_and_best() -> None:
    assert [one.of for one in READER.question(["a", 2]).targets] == ["a", 2]
    best = READER.question("top4")
    assert (best.top, best.answers, best.targets[0].of) == (4, 4, None)


@pytest.mark.parametrize(
    "value",
    [1.5, True, [], [[1]], {"at": {"box": [1, 2, 3]}}, {"at": {}}, {"at": "there"}, {"of": {}}, {"like": "x"}, {"x": 1},
     {"like": {"b64": "?"}}, {"like": {"url": "x"}}, {"like": [[1], [2, 3]]}, {"weights": ["a"]}, {"like": [1e99]},
     {"of": 2**70}, {"at": {"box": ["a", 1, 2, 3]}}, {"versus": []}, {"of": 1, "versus": {"of": 2, "versus": 3}},
     {"at": {"box": [float("nan"), 1, 2, 3]}}, {"at": {"box": [3, 1, 2, 3]}}, "top33", ["a"] * 33],
)  # fmt: skip
def test_what_makes_no_target(value: Any) -> None:
    with pytest.raises((TargetError, InputError)):
        READER.question(value)


def test_nothing_is_read_of_more_targets_than_are_answered() -> None:
    read: list[np.ndarray] = []

    def embed(photo: np.ndarray) -> np.ndarray:
        read.append(photo)
        return np.float32([1, 2])

    reader = TargetReader(embed, max_pixels=100, most=3)
    one = {"like": PHOTO}
    for value, before in (([one] * 4, 0), ([one] * 2, 2), (one, 3), ("top3", 1)):
        with pytest.raises(InputError, match="at most 3 answers; ask for fewer"):
            reader.question(value, before)
    assert read == []
    assert reader.question([one] * 2, 1).answers == 2 and len(read) == 2


def test_photos_of_a_request_are_kept_up_to_the_pixels_of_one(tmp_path: Path) -> None:
    """32 files of 200 kB may hold 50 megapixels each; those that are not kept are drawn all the same."""
    onnx.save(quadratic(metadata=image_metadata()), tmp_path / "small.onnx")
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "PNG")
    explainer = onnxplain.Explainer(tmp_path / "small.onnx")
    worker = Worker(explainer, Limits(max_pixels=2 * picture()[..., 0].size))
    entries = [Entry(photo=file.getvalue(), target=["cat", "dog"])] * 3
    order = Order(entries, outputs=frozenset({"png"}))
    prepared = worker.prepare(order)
    kept = [[one.image is not None for one in several] for several in prepared]
    assert kept == [[True] * 2, [True] * 2, [False] * 2]
    found = [worker.finish(order, several, [one.run([one.sample])[0] for one in several]) for several in prepared]
    files = [[one.png for one in several] for several in found]
    assert files == [files[0]] * 3 and None not in files[0]
    assert all(one.image is None for several in worker.prepare(Order(entries)) for one in several)


def test_sizes() -> None:
    assert [parse_size(one, "B", "--x") for one in ("20MB", "1.5k", "7", "2 GB")] == [
        20_000_000,
        1500,
        7,
        2_000_000_000,
    ]
    for text in ("", "MB", "20MP", "-1", "0", "1e3", "20 potatoes"):
        with pytest.raises(InputError, match="--x is a number such as 20MB"):
            parse_size(text, "B", "--x")


def test_models_and_hosts(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    (tmp_path / "b=c.onnx").touch()
    assert parse_models([]) == {"efficientnet_lite0": None}
    assert parse_models([f"{tmp_path}/a.onnx", f"{tmp_path}/a.onnx=two"]) == dict.fromkeys(
        ("a", "two"), tmp_path / "a.onnx"
    )
    assert parse_models([f"{tmp_path}/b=c.onnx=three"]) == {"three": tmp_path / "b=c.onnx"}
    assert [is_loopback(one) for one in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [True] * 3 + [
        False
    ] * 2
    with pytest.raises(InputError, match="--api-key-file"):
        Settings({}, host="0.0.0.0")
    assert Settings({}, host="0.0.0.0", insecure=True).allowed


def test_a_runtime_that_does_not_exist_or_has_no_providers_is_refused() -> None:
    with pytest.raises(InputError, match="'onnxruntime' or 'openvino'; found 'tvm'"):
        Settings({"small": None}, runtime="tvm")
    with pytest.raises(InputError, match="providers are those of ONNX Runtime"):
        Settings({"small": None}, runtime="openvino", providers=["cpu"])
