"""Every kind of picture a user can hand in, written here with Pillow and read back."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from onnxplain.errors import ImageError
from onnxplain.photos import find_images, load_image

ZOO = os.environ.get("ONNXPLAIN_ZOO")
needs_zoo = pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """A smooth RGB picture, 24 rows and 36 columns, so that lossy formats stay close."""
    y, x = np.mgrid[0:24, 0:36]
    return np.stack([x * 7, y * 10, 255 - x * 3 - y * 4], axis=2).astype(np.uint8)


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "BMP"}, {"format": "TIFF"}], ids=str)
def test_lossless_formats_are_exact(photo: NDArray[np.uint8], options: dict[str, object]) -> None:
    loaded = load_image(encoded(Image.fromarray(photo), **options))
    np.testing.assert_array_equal(loaded, photo)
    assert loaded.dtype == np.uint8 and loaded.flags.c_contiguous


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_compressions(photo: NDArray[np.uint8], compression: str) -> None:
    np.testing.assert_array_equal(
        load_image(encoded(Image.fromarray(photo), format="TIFF", compression=compression)), photo
    )


def test_webp_lossless(photo: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(photo), format="WEBP", lossless=True)), photo)


@pytest.mark.parametrize("options", [{"format": "JPEG", "quality": 95}, {"format": "WEBP", "quality": 95}], ids=str)
def test_lossy_formats_are_close(photo: NDArray[np.uint8], options: dict[str, object]) -> None:
    loaded = load_image(encoded(Image.fromarray(photo), **options))
    assert loaded.shape == photo.shape
    assert np.abs(loaded.astype(int) - photo).mean() < 4


@pytest.mark.parametrize("source", ["str", "path", "bytes", "bytearray", "file", "buffer", "pil", "array"])
def test_kinds_of_source(photo: NDArray[np.uint8], tmp_path: Path, source: str) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(photo).save(path)
    data = path.read_bytes()
    with path.open("rb") as file:
        sources = {
            "str": str(path), "path": path, "bytes": data, "bytearray": bytearray(data), "file": file,
            "buffer": io.BytesIO(data), "pil": Image.fromarray(photo), "array": photo,
        }  # fmt: skip
        np.testing.assert_array_equal(load_image(sources[source]), photo)  # type: ignore[arg-type]


# Orientation tag -> how the stored pixels follow from the upright ones (inverse of what a viewer does).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "opened"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(photo: NDArray[np.uint8], orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](photo)))
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = encoded(stored, format="PNG" if kind == "opened" else kind, exif=exif, **options)
    loaded = load_image(Image.open(io.BytesIO(data)) if kind == "opened" else data)
    assert loaded.shape == photo.shape
    tolerance = 6 if kind == "JPEG" else 0
    assert np.abs(loaded.astype(int) - photo).max() <= tolerance


def test_damaged_exif_does_not_matter(photo: NDArray[np.uint8]) -> None:
    data = encoded(Image.fromarray(photo), format="PNG", exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(load_image(data), photo)


def test_alpha_is_laid_over_white(photo: NDArray[np.uint8]) -> None:
    alpha = np.tile(np.arange(36, dtype=np.uint8) * 7, (24, 1))
    rgba = np.dstack([photo, alpha])
    share = alpha[:, :, None] / 255
    expected = photo * share + 255 * (1 - share)
    for source in (encoded(Image.fromarray(rgba), format="PNG"), encoded(Image.fromarray(rgba), format="TIFF"), rgba):
        assert np.abs(load_image(source) - expected).max() <= 1


def test_grey_with_alpha() -> None:
    la = Image.new("LA", (3, 2), (100, 0))
    la.putpixel((1, 1), (100, 255))
    loaded = load_image(encoded(la, format="PNG"))
    assert loaded[0, 0].tolist() == [255, 255, 255]
    assert loaded[1, 1].tolist() == [100, 100, 100]


def test_palette_with_and_without_transparency(photo: NDArray[np.uint8]) -> None:
    palette = Image.fromarray(photo).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(load_image(encoded(palette, format="PNG")), expected)
    clear = load_image(encoded(palette, format="PNG", transparency=0))
    hole = np.asarray(palette) == 0
    assert hole.any() and (clear[hole] == 255).all()
    np.testing.assert_array_equal(clear[~hole], expected[~hole])


def test_colour_key_transparency() -> None:
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    image.putpixel((1, 0), (40, 50, 60))
    assert load_image(encoded(image, format="PNG", transparency=(10, 20, 30))).tolist() == [
        [[255, 255, 255], [40, 50, 60]]
    ]


def test_greyscale_and_one_bit() -> None:
    grey = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(grey), format="PNG")), np.dstack([grey] * 3))
    bits = (grey > 100).astype(np.uint8) * 255
    one_bit = Image.fromarray(bits).convert("1")
    for kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(load_image(encoded(one_bit, format=kind)), np.dstack([bits] * 3))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "pil"])
def test_sixteen_bit_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 257, 32768, 40000, 65535]], dtype=np.uint16)
    image = Image.fromarray(values)
    assert image.mode == "I;16"
    loaded = load_image(image if kind == "pil" else encoded(image, format=kind))
    assert loaded[0, :, 0].tolist() == [0, 0, 1, 128, 156, 255]


def test_big_endian_sixteen_bit_tiff() -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    image = Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes())
    assert load_image(encoded(image, format="TIFF"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_float_tiff() -> None:
    values = np.array([[0.0, 0.25, 1.0]], dtype=np.float32)
    assert load_image(encoded(Image.fromarray(values), format="TIFF"))[0, :, 0].tolist() == [0, 64, 255]
    with pytest.raises(ImageError, match=r"0\.\.200"):
        load_image(encoded(Image.fromarray(values * 200), format="TIFF"))


def test_integer_modes() -> None:
    assert load_image(Image.fromarray(np.array([[0, 65535]], dtype=np.int32)))[0, :, 0].tolist() == [0, 255]
    with pytest.raises(ImageError, match="32-bit"):
        load_image(encoded(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), format="TIFF"))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red ink
    loaded = load_image(encoded(image, format=kind))
    assert np.abs(loaded.astype(int) - [255, 0, 0]).max() <= 3


def test_other_colour_modes(photo: NDArray[np.uint8]) -> None:
    assert np.abs(load_image(Image.fromarray(photo).convert("YCbCr")).astype(int) - photo).max() <= 3
    with pytest.raises(ImageError, match="colour mode La"):
        load_image(Image.new("La", (2, 2)))


def test_multi_page_takes_the_first(photo: NDArray[np.uint8]) -> None:
    pages = [Image.fromarray(255 - photo)]
    data = encoded(Image.fromarray(photo), format="TIFF", save_all=True, append_images=pages)
    np.testing.assert_array_equal(load_image(data), photo)


ARRAYS = {
    "rgb": (np.full((2, 3, 3), 7, np.uint8), 7),
    "grey": (np.full((2, 3), 7, np.uint8), 7),
    "grey with an axis": (np.full((2, 3, 1), 7, np.uint8), 7),
    "opaque": (np.dstack([np.full((2, 3, 3), 7, np.uint8), np.full((2, 3), 255, np.uint8)]), 7),
    "clear": (np.zeros((2, 3, 4), np.uint8), 255),
    "float64": (np.full((2, 3, 3), 0.5), 128),
    "float16": (np.full((2, 3, 3), 1, np.float16), 255),
    "uint16": (np.full((2, 3, 3), 65535, np.uint16), 255),
    "bool": (np.ones((2, 3), bool), 255),
    "one pixel": (np.zeros((1, 1, 3), np.uint8), 0),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str) -> None:
    array, value = ARRAYS[name]
    loaded = load_image(array)
    assert loaded.shape == (*array.shape[:2], 3) and loaded.dtype == np.uint8
    assert (loaded == value).all()


def test_strided_array_becomes_contiguous(photo: NDArray[np.uint8]) -> None:
    loaded = load_image(photo[::-1, ::2, ::-1])
    assert loaded.flags.c_contiguous
    np.testing.assert_array_equal(loaded, photo[::-1, ::2, ::-1])


BAD_ARRAYS = {
    "rank": (np.zeros(5, np.uint8), r"\[5\]"),
    "batch": (np.zeros((1, 4, 4, 3), np.uint8), r"\[1, 4, 4, 3\]"),
    "channels first": (np.zeros((3, 8, 8), np.uint8), "channels last"),
    "two channels": (np.zeros((8, 8, 2), np.uint8), r"\[8, 8, 2\]"),
    "no rows": (np.zeros((0, 8, 3), np.uint8), "no pixels"),
    "integers": (np.zeros((8, 8, 3), np.int64), "int64"),
    "complex": (np.zeros((8, 8, 3), np.complex64), "complex64"),
    "objects": (np.full((8, 8, 3), None, object), "object"),
    "NaN": (np.full((8, 8, 3), np.nan), "NaN"),
    "infinity": (np.full((8, 8, 3), np.inf), "infinity"),
    "above one": (np.full((8, 8, 3), 255.0), r"255\.\.255"),
    "below zero": (np.full((8, 8, 3), -0.1), r"-0\.1"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(name: str) -> None:
    array, message = BAD_ARRAYS[name]
    with pytest.raises(ImageError, match=message):
        load_image(array)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_truncated_files(photo: NDArray[np.uint8], tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format=kind)
    path = tmp_path / "cut.bin"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"cut\.bin: damaged or truncated"):
        load_image(path)
    if kind != "WEBP":  # which Pillow refuses to open at all
        with Image.open(path) as image, pytest.raises(ImageError, match="the PIL image: damaged or truncated"):
            load_image(image)


def test_unreadable_sources(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.touch()
    text.write_text("not a picture")
    for source, message in (
        (tmp_path / "missing.png", r"missing\.png: no such file"),
        (tmp_path, "is a folder"),
        (empty, r"empty\.png: the file is empty"),
        (text, r"text\.png: this is not a JPEG"),
        (b"", "the image bytes: the file is empty"),
        (b"GIF89a" + bytes(40), "this is not a JPEG"),
        (io.BytesIO(b"abc"), "the open file: this is not"),
        (42, "found int"),
        (None, "found NoneType"),
        (tmp_path / ("x" * 300), "cannot be opened"),
    ):
        with pytest.raises(ImageError, match=message):
            load_image(source)  # type: ignore[arg-type]


@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_bytes_never_raise_anything_else(noise: bytes, place: int) -> None:
    data = bytearray(encoded(Image.new("RGB", (9, 9), (1, 2, 3)), format="PNG"))
    data[place : place + len(noise)] = noise
    with contextlib.suppress(ImageError):
        assert load_image(bytes(data)).shape[2] == 3


def test_pixel_limit_names_the_numbers(photo: NDArray[np.uint8]) -> None:
    data = encoded(Image.fromarray(photo), format="PNG")
    assert load_image(data, max_pixels=864).shape == photo.shape
    for source in (data, Image.fromarray(photo)):
        with pytest.raises(ImageError, match=r"36x24 = 864 pixels, more than the limit of 863"):
            load_image(source, max_pixels=863)


def test_decompression_bomb() -> None:
    """A small file that says it is 20000x20000: refused from its header, before a pixel is decoded."""
    data = bytearray(encoded(Image.new("L", (10, 10)), format="BMP"))
    data[18:26] = (20000).to_bytes(4, "little") * 2
    with pytest.raises(ImageError, match="400000000 pixels"):
        load_image(bytes(data))


def test_find_images(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    for name in ("b.PNG", "a.jpg", "c.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["a.jpg", "b.PNG"]
    assert find_images(tmp_path / "c.txt") == [tmp_path / "c.txt"]
    with pytest.raises(ImageError, match="holds no image"):
        find_images(tmp_path / "folder.png")
    with pytest.raises(ImageError, match="no such file or folder"):
        find_images(tmp_path / "nowhere")


@needs_zoo
def test_every_zoo_photo_loads() -> None:
    assert ZOO is not None
    photos = [*find_images(Path(ZOO) / "photos"), *find_images(Path(ZOO) / "composites")]
    assert len(photos) > 60
    for path in photos:
        loaded = load_image(path)
        assert loaded.shape[2] == 3 and min(loaded.shape[:2]) > 16
