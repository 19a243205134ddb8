"""Maps as pictures. Nothing here knows where a map came from: it is numbers of the photo's size.

A gradient is sparse, noisy and full of small values, so by default a map is slightly smoothed and stretched
for display (``contrast``), and laid over the photo dimmed and nearly grey. The map itself is never changed.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .. import native
from ..errors import ImageError, InputError, OutputError
from ..files import write_bytes
from .colormaps import shown_colormap

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def contrast(
    saliency: NDArray[np.generic],
    *,
    percentiles: tuple[float, float] = (50, 99.5),
    smooth: float = 1 / 256,
) -> NDArray[np.float32]:
    """Return a map [H,W] of numbers >= 0, stretched for display, as float32 [H,W] in 0..1.

    First smoothed by a Gaussian of ``smooth`` times the longer side, then stretched so that
    the first percentile becomes 0 and the second 1, both taken over the positive values: zeros outside a crop
    say nothing. ``percentiles=(0, 100), smooth=0`` only divides by the range of those. A flat map stays flat.

    Raises:
        InputError: another rank, NaN, infinity or negative values.
    """
    values = _checked_map(saliency)
    if values.min() < 0:
        raise InputError(f"the map holds negative values (down to {values.min():g}); take magnitudes or signed=True.")
    low, high = percentiles
    if not 0 <= low < high <= 100:
        raise InputError(f"percentiles are {percentiles}; they ascend within 0..100.")
    values = _smoothed(values, smooth * max(values.shape))
    positive = values[values > 0]
    if positive.size == 0:
        return np.zeros(values.shape, np.float32)
    floor, ceiling = _percentiles(positive, (low, high))
    floor = 0.0 if low == 0 or ceiling <= floor else floor
    stretched: NDArray[np.float32] = np.clip((values - floor) / (ceiling - floor), 0, 1).astype(np.float32)
    return stretched


def _percentiles(values: NDArray[np.generic], percents: tuple[float, ...]) -> list[float]:
    """Return percentiles of numbers [N] as ``numpy.percentile`` does, which imports masked arrays for it at first."""
    places = [percent / 100 * (values.size - 1) for percent in percents]
    near = [(math.floor(place), math.ceil(place)) for place in places]
    ordered = np.partition(values, [place for pair in near for place in pair])
    return [
        float(ordered[below]) + (float(ordered[above]) - float(ordered[below])) * (place - below)
        for place, (below, above) in zip(places, near)
    ]


def signed_contrast(
    values: NDArray[np.generic],
    *,
    percentiles: tuple[float, float] = (0, 99.5),
    smooth: float = 0.0,
) -> NDArray[np.float32]:
    """Return a map [H,W] of numbers of either sign, stretched for display, as float32 [H,W] in -1..1; zero stays zero.

    First smoothed as by :func:`contrast`, then its magnitudes are stretched and its signs put back.

    Raises:
        InputError: another rank, NaN or infinity.
    """
    smoothed = _smoothed(_checked_map(values), smooth * max(values.shape))
    stretched: NDArray[np.float32] = np.sign(smoothed) * contrast(np.abs(smoothed), percentiles=percentiles, smooth=0)
    return stretched


def display_level(
    values: NDArray[np.generic], *, percentiles: tuple[float, float], smooth: float, signed: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel of a map [H,W] stands in its colour map, 0..1, and how much it counts, 0..1.

    The two are one for unsigned maps. Of a signed map 0 stands at 0.5 and counts nothing.
    """
    if not signed:
        level = contrast(values, percentiles=percentiles, smooth=smooth)
        return level, level
    stretched = signed_contrast(values, percentiles=percentiles, smooth=smooth)
    return ((1 + stretched) / 2).astype(np.float32), np.abs(stretched)


def heatmap(
    saliency: NDArray[np.generic],
    *,
    colormap: str | NDArray[np.uint8] | None = None,
    percentiles: tuple[float, float] = (0, 99.5),
    smooth: float = 0.0,
    signed: bool = False,
) -> NDArray[np.uint8]:
    """Return the map [H,W] in colours, uint8 RGB [H,W,3].

    Unsigned maps go through :func:`contrast` and, by default, "inferno". With ``signed`` zero is the middle
    of the colour map ("diverging" by default) and the upper percentile of magnitudes its ends; see
    :func:`signed_contrast`.
    """
    level, _ = display_level(saliency, percentiles=percentiles, smooth=smooth, signed=signed)
    return native.overlay(level, None, shown_colormap(colormap, signed, usual_signed="diverging"))


def overlay_image(
    photo: NDArray[np.uint8],
    saliency: NDArray[np.generic],
    *,
    colormap: str | NDArray[np.uint8] | None = None,
    alpha: float = 0.95,
    percentiles: tuple[float, float] = (50, 99.5),
    smooth: float = 1 / 256,
    saturation: float = 0.35,
    brightness: float = 0.65,
    signed: bool = False,
    threads: int = 0,
) -> NDArray[np.uint8]:
    """Return the map laid over the photo, uint8 RGB [H,W,3].

    The photo keeps ``saturation`` of its colour and ``brightness`` of its light (1 and 1: unchanged); then each
    pixel takes the map's colour with weight ``alpha`` (0..1) times the stretched map (see :func:`contrast`), or,
    with ``signed``, times the magnitude of the stretched map (see :func:`signed_contrast`): zero leaves the photo.
    ``colormap``: "inferno", and "diverging_dark" for signed maps, unless stated.

    Raises:
        InputError: the map's size is not the photo's.
    """
    base = dimmed(photo, saliency, saturation, brightness)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it lies within 0..1.")
    level, weight = display_level(saliency, percentiles=percentiles, smooth=smooth, signed=signed)
    table = shown_colormap(colormap, signed)
    if not signed:
        return native.overlay(level, base, table, alpha=alpha, weight_by_saliency=True, threads=threads)
    colours = native.overlay(level, None, table, threads=threads)
    mask = Image.fromarray(np.rint(255 * alpha * weight).astype(np.uint8))
    return np.array(Image.composite(Image.fromarray(colours), Image.fromarray(base), mask))


def dimmed(
    photo: NDArray[np.uint8], saliency: NDArray[np.generic], saturation: float, brightness: float
) -> NDArray[np.uint8]:
    """Return the photo as the ground for its map: each pixel pulled towards its luma, then darkened.

    Raises:
        InputError: the map's size is not the photo's, or a share lies outside 0..1.
    """
    picture = checked_picture(photo)
    if saliency.shape != picture.shape[:2]:
        raise InputError(f"the map is {list(saliency.shape)}, the photo {list(picture.shape[:2])}; map it back first.")
    for name, value in (("saturation", saturation), ("brightness", brightness)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}; it lies within 0..1.")
    mix = brightness * (saturation * np.eye(3) + (1 - saturation) * np.array(_LUMA))
    matrix = tuple(np.hstack([mix, np.zeros((3, 1))]).ravel().tolist())
    return np.asarray(Image.fromarray(picture).convert("RGB", matrix))


def encode(
    picture: NDArray[np.uint8], kind: str = "PNG", *, quality: int = 92, text: Mapping[str, str] | None = None
) -> bytes:
    """uint8 RGB [H,W,3] as the bytes of a "PNG", "JPEG" or "WEBP".

    ``quality`` (1..100) is that of the latter two; ``text``, by keyword, is written into a PNG alone.

    Raises:
        OutputError: the picture is too large for the format.
    """
    encoded = io.BytesIO()
    chunks = PngInfo()
    for keyword, value in (text or {}).items():
        chunks.add_itxt(keyword, value, zip=True)
    options = {"pnginfo": chunks} if kind == "PNG" else {"quality": quality}
    try:
        Image.fromarray(checked_picture(picture)).save(encoded, format=kind, **options)
    except (OSError, ValueError) as error:  # WebP ends at 16383 pixels, JPEG at 65535
        raise OutputError(f"this picture cannot be stored as {kind}: {error}.") from error
    return encoded.getvalue()


def save_image(
    path: str | os.PathLike[str],
    picture: NDArray[np.uint8],
    *,
    quality: int = 92,
    text: Mapping[str, str] | None = None,
) -> Path:
    """Write uint8 RGB [H,W,3] as PNG, JPEG or WebP, by the suffix; see :func:`write_bytes`.

    ``quality`` (1..100) is that of JPEG and WebP; a PNG carries ``text``, by keyword. Returns the path.

    Raises:
        OutputError: another suffix, or the file cannot be written.
    """
    place = Path(path)
    kind = picture_format(place)
    try:
        content = encode(picture, kind, quality=quality, text=text)
    except OutputError as error:
        raise OutputError(f"{place}: {error}") from error
    return write_bytes(place, content)


def picture_format(path: Path) -> str:
    """PNG, JPEG or WEBP, by the suffix.

    Raises:
        OutputError: another one.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"{path}: pictures are written as {', '.join(_FORMATS)}, not {path.suffix or 'no suffix'}.")
    return kind


def _checked_map(saliency: NDArray[np.generic]) -> NDArray[np.float32]:
    values = np.asarray(saliency)
    if values.ndim != 2 or values.size == 0 or not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"a map is float [H,W], found {values.dtype} {list(values.shape)}.")
    single = values.astype(np.float32)
    if not np.isfinite(single).all():
        raise InputError("the map holds NaN or infinity; nothing can be drawn of it.")
    return single


def checked_picture(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``photo``, contiguous.

    Raises:
        ImageError: it is not uint8 RGB [H,W,3] with pixels.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise ImageError(f"a picture is uint8 RGB [H,W,3], found {photo.dtype} {list(photo.shape)}.")
    return np.ascontiguousarray(photo)


def _smoothed(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian filter, cut off at three sigma, the edge pixels repeated.

    From four pixels on it works on the map averaged over blocks of at most half a sigma.
    """
    if sigma < 0:
        raise InputError(f"smooth is negative ({sigma:g} pixels); it is 0 or more.")
    block = int(sigma // 2)
    if block > 1:
        height, width = values.shape
        coarse = Image.fromarray(_smoothed(np.asarray(Image.fromarray(values).reduce(block)), sigma / block))
        box = (0.0, 0.0, width / block, height / block)
        return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR, box=box))
    radius = round(3 * sigma)
    if radius == 0:
        return values
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1, dtype=np.float32) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        length = values.shape[axis]
        padded = np.moveaxis(
            np.pad(values, [(radius, radius) if n == axis else (0, 0) for n in (0, 1)], "edge"), axis, 0
        )
        total = sum(weight * padded[tap : tap + length] for tap, weight in enumerate(weights))
        values = np.moveaxis(np.asarray(total), 0, axis)
    return values
