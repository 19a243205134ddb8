"""Any picture a user can hand in, as uint8 RGB [H,W,3].

Pixels are delivered as they are stored, apart from what a viewer would do as well: EXIF orientation is
applied, transparency is laid over white, palettes, greyscale and CMYK become RGB, and 16-bit samples
are scaled (65535 becomes 255), never clipped. Colour profiles are not applied, because the pipelines that
classifiers are trained with do not apply them either. Of animations and multi-page files the first frame
is taken.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..checks import check_file, check_unmasked
from ..errors import ImageError
from ..files import MAX_PIXELS
from .decoders import lines_caught

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | IO[bytes] | Image.Image | NDArray[np.generic]

#: Suffixes that :func:`find_images` looks for.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
_FORMAT_NAMES = "JPEG, PNG, WebP, BMP or TIFF"
_EXIF_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, ground: int = 255) -> NDArray[np.uint8]:
    """Return the picture as contiguous uint8 RGB [H,W,3], 0..255; what is transparent is laid over the grey ``ground``.

    ``source`` is a path, the bytes of a file, an open binary file, a PIL image, or an array: uint8
    (0..255), uint16 (0..65535), float (0..1) or bool, shaped [H,W], [H,W,1], [H,W,3] or [H,W,4]. A uint8
    RGB array comes back without a copy.

    Raises:
        ImageError: there is no such file; it is empty, truncated or of another format; the picture has more than
            ``max_pixels`` pixels or none at all; an array has another rank or type, holds NaN, or is float outside
            0..1.
        InputError: an array with masked elements.
    """
    if isinstance(source, np.ndarray):
        check_unmasked("the photo", source)
        return _from_array(source, "the array", ground)
    if isinstance(source, Image.Image):
        with _decoding("the PIL image"):
            return _from_pil(source, "the PIL image", max_pixels, ground)
    if isinstance(source, (bytes, bytearray)):
        return _decode(io.BytesIO(source), "the image bytes", max_pixels, ground)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        check_file(path, ImageError)
        try:
            with path.open("rb") as file:
                return _decode(file, str(path), max_pixels, ground)
        except FileNotFoundError:
            raise ImageError(f"{path}: no such file; give the path of an image.") from None
        except IsADirectoryError:
            raise ImageError(f"{path} is a folder; give one image, or list the folder's images.") from None
        except PermissionError:
            raise ImageError(f"{path} cannot be opened: permission denied.") from None
        except OSError as error:
            raise ImageError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if callable(getattr(source, "read", None)):
        return _decode(source, str(getattr(source, "name", "the open file")), max_pixels, ground)
    kind = type(source).__name__
    raise ImageError(f"an image is a path, bytes, a file, a PIL image or an array; found {kind}.")


def load_mask(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.bool_]:
    """Return the mask [H,W] that a picture shows: true where it is lighter than half of full white, and opaque.

    Raises:
        ImageError, InputError: as for :func:`load_image`.
    """
    mask: NDArray[np.bool_] = load_image(source, max_pixels=max_pixels, ground=0).mean(axis=2) > 127.5
    return mask


def find_images(path: str | os.PathLike[str]) -> list[Path]:
    """Return the file itself, or the images directly in a folder, sorted by name; hidden files are left out.

    Raises:
        ImageError: there is nothing at ``path``, or no image in the folder.
    """
    place = Path(path)
    if not place.exists():
        raise ImageError(f"{place}: no such file or folder; give an image or a folder of images.")
    if not place.is_dir():
        return [place]
    try:
        names = sorted(entry.name for entry in place.iterdir() if entry.is_file())
    except OSError as error:
        raise ImageError(f"{place} cannot be listed: {error.strerror or error}.") from error
    found = [place / name for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != "."]
    if not found:
        raise ImageError(f"{place} holds no image; looked for files ending in {', '.join(SUFFIXES)}.")
    return found


def _decode(file: IO[bytes], name: str, max_pixels: int, ground: int) -> NDArray[np.uint8]:
    try:
        with _decoding(name), Image.open(file, formats=_FORMATS) as image:
            if image.format == "TIFF":
                with lines_caught(name):
                    return _from_pil(image, name, max_pixels, ground)
            return _from_pil(image, name, max_pixels, ground)
    except UnidentifiedImageError:
        if _is_empty(file):
            raise ImageError(f"{name}: the file is empty (0 bytes).") from None
        raise ImageError(f"{name}: this is not a {_FORMAT_NAMES} image; convert it to one of these.") from None


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises into an :class:`ImageError`."""
    try:
        yield
    except (ImageError, UnidentifiedImageError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: {error} Shrink the image.") from None
    except Exception as error:  # decoders of damaged files raise almost anything
        raise ImageError(f"{name}: damaged or truncated, it cannot be decoded: {error}.") from error


def _is_empty(file: IO[bytes]) -> bool:
    try:
        file.seek(0)
        return not file.read(1)
    except (OSError, ValueError):
        return False


def _from_pil(image: Image.Image, name: str, max_pixels: int, ground: int) -> NDArray[np.uint8]:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels: it is {width}x{height}.")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} = {width * height} pixels, more than the limit of {max_pixels}; "
            "shrink it, or raise max_pixels if you trust its source."
        )
    image.load()
    turn = _TRANSPOSE.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I;16"):
        return _from_array(np.asarray(image).astype(np.uint16), name, ground)
    if image.mode == "I":
        return _from_array(_sixteen_bit(np.asarray(image), name), name, ground)
    if image.mode == "F":
        return _from_array(np.asarray(image), name, ground)
    try:
        if image.has_transparency_data:
            colour = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", colour.size, (ground, ground, ground, 255)), colour)
        return np.array(image.convert("RGB"), dtype=np.uint8, order="C")
    except ValueError:
        raise ImageError(f"{name} is in colour mode {image.mode}; convert it to RGB.") from None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 (upright) where the file has none or its EXIF block is damaged."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse the picture
        return 1
    return value if isinstance(value, int) else 1


def _sixteen_bit(pixels: NDArray[np.generic], name: str) -> NDArray[np.uint16]:
    """Pillow's mode I is 32-bit; only values of a 16-bit file have a known range."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise ImageError(f"{name} has 32-bit integer pixels ({low}..{high}), whose white is unknown; save 8 or 16 bit.")
    return pixels.astype(np.uint16)


def _from_array(array: NDArray[np.generic], name: str, ground: int) -> NDArray[np.uint8]:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = "; move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ImageError(f"{name} has shape {list(array.shape)}; an image is [H,W], [H,W,1], [H,W,3] or [H,W,4]{hint}.")
    if 0 in array.shape:
        raise ImageError(f"{name} has no pixels: its shape is {list(array.shape)}.")
    pixels = _to_bytes(array, name)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 4:
        return _from_pil(Image.fromarray(np.ascontiguousarray(pixels)), name, pixels.size, ground)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels)


def _to_bytes(array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Samples of any accepted type scaled to 0..255."""
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == np.bool_:
        white: NDArray[np.uint8] = array.astype(np.uint8) * np.uint8(255)
        return white
    if array.dtype == np.uint16:
        scaled: NDArray[np.uint8] = ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        return scaled
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"{name} is {array.dtype}; pixels are uint8 0..255, uint16 0..65535, float 0..1 or bool.")
    values: NDArray[np.float64] = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"{name} holds NaN or infinity; every pixel must be finite.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(f"{name} is {array.dtype} in {low:g}..{high:g}; float pixels lie in 0..1, others are uint8.")
    return np.rint(values * 255).astype(np.uint8)
