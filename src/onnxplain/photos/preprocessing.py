"""How pixels become the input tensor, and the geometry that undoes it.

Steps, in this order: greyscale if the model wants one channel; resize; crop or pad; channel order; then for
every pixel value p in 0..255 (255 - p with ``invert``)::

    x = (p * scale - mean[channel]) / std[channel]

so ``mean`` and ``std`` are in units of the scaled pixel: 0..1 with ``scale=1/255``, 0..255 with ``scale=1``.
x is computed in float64 once for the 256 possible values and then rounded to the tensor's type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..checks import shown
from ..errors import ImageError, PreprocessingError
from ..files import MAX_PIXELS
from .geometry import Geometry, Size

ResizeRule = Literal["none", "shortest", "exact", "letterbox"]
Channels = Literal["RGB", "BGR", "L"]
Layout = Literal["NCHW", "NHWC"]

#: Key of the model's metadata that holds :meth:`Preprocessing.to_json`.
METADATA_KEY = "onnxplain.preprocessing"

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "resize": ("none", "shortest", "exact", "letterbox"),
    "filter": tuple(FILTERS),
    "crop_rounding": ("torchvision", "floor", "ceil"),
    "channels": ("RGB", "BGR", "L"),
    "layout": ("NCHW", "NHWC"),
    "dtype": ("float32", "float16", "float64", "uint8"),
}
_VERSION = 1
#: The most pixels of a tensor, and of a row of them that a resize holds in between.
_MOST_PIXELS = 1 << 25
# A resize to more pixels than this (a 1xN strip, say) computes only the part that the crop keeps.
_WHOLE_RESIZE_LIMIT = 1 << 24


@dataclass(frozen=True)
class Preprocessing:
    """One recipe from uint8 RGB pixels to a tensor. Sizes are an int (square) or (height, width).

    - ``resize``: "shortest" scales, keeping the aspect ratio, until the photo just covers ``size`` (for an
      int: the shorter side becomes ``size``, the longer one is truncated as torchvision does);
      "exact" stretches to ``size``; "letterbox" fits the photo into ``size`` and fills the rest with
      ``pad_color`` (sides and padding rounded as ultralytics does); "none" keeps the pixels, and with a
      ``size`` refuses photos of another one.
    - ``filter``: nearest, bilinear, bicubic, lanczos, box or hamming, as Pillow defines them: widened when
      shrinking (antialiased).
    - ``crop``: centre crop; a smaller photo is padded with ``pad_color``. ``crop_rounding`` is where the odd
      pixel goes: with d = photo - crop, the first row is round-half-even(d/2) for "torchvision" (also timm),
      d//2 for "floor" (Hugging Face), (d+1)//2 for "ceil" (TensorFlow's EfficientNet and ResNet pipelines).
    - ``channels``: RGB, BGR, or L for one grey channel (ITU-R 601 luma).
    - ``scale``, ``mean``, ``std``, ``invert``: see the top of this module. ``mean`` and ``std`` are given in
      the order of ``channels``; a single value serves every channel.
    - ``layout`` and ``dtype`` of the tensor. uint8 allows neither scale nor mean nor std.

    Raises:
        PreprocessingError: values that make no sense.
    """

    resize: ResizeRule = "none"
    size: int | Size | None = None
    filter: str = "bilinear"
    crop: int | Size | None = None
    crop_rounding: Literal["torchvision", "floor", "ceil"] = "torchvision"
    pad_color: tuple[int, int, int] = (0, 0, 0)
    channels: Channels = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    invert: bool = False
    layout: Layout = "NCHW"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise PreprocessingError(f"{name} is {shown(value)}; it is one of {', '.join(choices)}.")
        for name in ("size", "crop"):
            object.__setattr__(self, name, _size(name, getattr(self, name)))
            _check_pixels(name, getattr(self, name))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), self.channel_count))
        object.__setattr__(self, "scale", _numbers("scale", self.scale, 1)[0])
        if not isinstance(self.invert, bool):
            raise PreprocessingError(f"invert is {self.invert!r}; it is true or false.")
        if self.resize != "none" and self.size is None:
            raise PreprocessingError(f"resize is {self.resize!r}, which needs a size.")
        if self.scale == 0 or 0 in self.std:
            raise PreprocessingError(f"scale {self.scale} and std {list(self.std)} must not be 0.")
        color = tuple(self.pad_color) if isinstance(self.pad_color, Sequence) else ()
        if len(color) != 3 or any(not isinstance(v, int) or not 0 <= v <= 255 for v in color):
            raise PreprocessingError(f"pad_color is {shown(self.pad_color)}; it is three whole numbers 0..255 (RGB).")
        object.__setattr__(self, "pad_color", color)
        if self.dtype == "uint8" and (self.scale != 1 or set(self.mean) != {0.0} or set(self.std) != {1.0}):
            raise PreprocessingError(
                f"a uint8 tensor holds plain pixels, but scale is {self.scale:g}, mean {list(self.mean)}, "
                f"std {list(self.std)}; use scale 1, mean 0, std 1 for this model."
            )

    @property
    def channel_count(self) -> int:
        """1 for L, else 3."""
        return 1 if self.channels == "L" else 3

    @property
    def output_size(self) -> Size | None:
        """(height, width) of every tensor, or None where it depends on the photo."""
        if self.crop is not None:
            return _pair(self.crop)
        return None if self.resize == "shortest" or self.size is None else _pair(self.size)

    def geometry(self, height: int, width: int) -> Geometry:
        """Resize and crop of a photo of this size."""
        photo = resized = (height, width)
        offset = (0, 0)
        if self.size is not None:
            target = _pair(self.size)
            if self.resize == "none" and target != photo:
                raise PreprocessingError(
                    f"the photo is {height}x{width} (height x width), the model takes {target[0]}x{target[1]}, and "
                    'the preprocessing resizes nothing; state a resize rule ("shortest", "exact", "letterbox").'
                )
            if self.resize == "exact":
                resized = target
            elif self.resize == "shortest":
                resized = _cover(photo, target)
            elif self.resize == "letterbox":
                ratio = min(target[0] / height, target[1] / width)
                resized = (max(1, round(height * ratio)), max(1, round(width * ratio)))
                offset = (_letterbox_offset(target[0] - resized[0]), _letterbox_offset(target[1] - resized[1]))
                if self.crop is None:
                    return Geometry(photo, resized, offset, target)
        if self.crop is None:
            return Geometry(photo, resized, (0, 0), resized)
        crop = _pair(self.crop)
        whole = _pair(self.size) if self.resize == "letterbox" and self.size is not None else resized
        centre = tuple(_centre(whole[axis] - crop[axis], self.crop_rounding) for axis in (0, 1))
        return Geometry(photo, resized, (offset[0] + centre[0], offset[1] + centre[1]), crop)

    def apply(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.generic], Geometry]:
        """Return the tensor, [C,H,W] or [H,W,C] without a batch axis, and the geometry that undoes it.

        ``image`` is uint8 RGB [H,W,3] as ``load_image`` returns it.

        Raises:
            ImageError: ``image`` is anything else.
            PreprocessingError: ``resize="none"`` meets a photo of another size.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ImageError(
                f"preprocessing takes uint8 RGB [H,W,3], found {image.dtype} {list(image.shape)}; "
                "load_image makes one of any picture."
            )
        geometry = self.geometry(image.shape[0], image.shape[1])
        _check_room(geometry)
        picture = Image.fromarray(np.ascontiguousarray(image))
        pad: int | tuple[int, int, int] = self.pad_color
        if self.channels == "L":
            picture = picture.convert("L")
            pad = Image.new("RGB", (1, 1), self.pad_color).convert("L").getpixel((0, 0))  # type: ignore[assignment]
        pixels = np.asarray(_place(picture, geometry, FILTERS[self.filter], pad))
        pixels = pixels.reshape(*geometry.canvas, self.channel_count)
        if self.channels == "BGR":
            pixels = pixels[:, :, ::-1]
        table = self._table()
        tensor = np.empty((len(table), *geometry.canvas), table.dtype)
        for channel, values in enumerate(table):
            np.take(values, pixels[:, :, channel], out=tensor[channel], mode="clip")  # "raise" would buffer
        return (tensor if self.layout == "NCHW" else np.ascontiguousarray(tensor.transpose(1, 2, 0))), geometry

    def value_range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and greatest tensor value of each channel, shaped [C,1,1] (NCHW) or [1,1,C] (NHWC)."""
        table = self._table().astype(np.float64)
        shape = (-1, 1, 1) if self.layout == "NCHW" else (1, 1, -1)
        return table.min(axis=1).reshape(shape), table.max(axis=1).reshape(shape)

    def to_pixels(self, tensor: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return the inverse of the value mapping: a tensor [C,H,W] or [H,W,C] as uint8 RGB [H,W,3], clipped."""
        values = np.asarray(tensor, dtype=np.float64)
        if self.layout == "NCHW":
            values = np.moveaxis(values, 0, -1)
        values = (values * np.array(self.std) + np.array(self.mean)) / self.scale
        pixels = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
        if self.invert:
            pixels = 255 - pixels
        if self.channels == "L":
            return np.repeat(pixels, 3, axis=2)
        return np.ascontiguousarray(pixels[:, :, ::-1] if self.channels == "BGR" else pixels)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; :meth:`from_dict` reads them back to an equal object."""
        return {"version": _VERSION, **asdict(self)}

    def to_json(self) -> str:
        """Return one line of JSON, as stored under ``onnxplain.preprocessing`` in a model's metadata."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read :meth:`to_dict`; missing keys take their defaults, unknown ones raise."""
        known = [field.name for field in fields(cls)]
        given = dict(values)
        version = given.pop("version", _VERSION)
        if version != _VERSION:
            raise PreprocessingError(f"preprocessing version {version!r} is unknown; this release reads {_VERSION}.")
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise PreprocessingError(f"unknown preprocessing keys {unknown}; the keys are {', '.join(known)}.")
        return cls(**given)

    def replace(self, **changes: Any) -> Preprocessing:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def _table(self) -> NDArray[np.generic]:
        """Tensor value of every pixel value, [C,256]."""
        pixel = np.arange(256, dtype=np.float64)
        pixel = 255 - pixel if self.invert else pixel
        table = (pixel * self.scale - np.array(self.mean)[:, None]) / np.array(self.std)[:, None]
        typed: NDArray[np.generic] = table.astype(self.dtype)
        return typed


def _size(name: str, value: object) -> int | Size | None:
    if value is None:
        return None
    pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    sides = [int(v) for v in pair if isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v > 0]
    if len(sides) != len(pair) or len(pair) not in (1, 2):
        raise PreprocessingError(f"{name} is {shown(value)}; it is a whole number above 0 or [height, width].")
    return sides[0] if len(sides) == 1 or sides[0] == sides[1] else (sides[0], sides[1])


def _check_pixels(name: str, size: int | Size | None) -> None:
    height, width = (0, 0) if size is None else _pair(size)
    if height * width > _MOST_PIXELS:
        raise PreprocessingError(f"{name} is {height}x{width} pixels; a tensor may have {_MOST_PIXELS} of them.")


def _check_room(geometry: Geometry) -> None:
    """Refuse what would take gigabytes: a thin photo whose short side grows, or whose long one is kept in between."""
    (height, width), canvas = geometry.photo, geometry.canvas
    made = canvas[0] * canvas[1]
    between = height * (geometry.resized[1] if _is_resized_whole(geometry) else canvas[1])
    if geometry.resized == geometry.photo:
        between = 0
    if made > _MOST_PIXELS or between > MAX_PIXELS:
        raise ImageError(
            f"the photo of {height}x{width} (height x width) would be resized to "
            f"{geometry.resized[0]}x{geometry.resized[1]}, {max(made, between)} pixels on the way; cut it first, or "
            "state a preprocessing that crops."
        )


def _is_resized_whole(geometry: Geometry) -> bool:
    return geometry.resized[0] * geometry.resized[1] <= _WHOLE_RESIZE_LIMIT


def _pair(size: int | Size) -> Size:
    return (size, size) if isinstance(size, int) else size


def _numbers(name: str, value: object, count: int) -> tuple[float, ...]:
    items = list(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else [value]
    try:
        numbers = [float(v) for v in items if isinstance(v, (int, float, np.number)) and not isinstance(v, bool)]
    except OverflowError:  # whole numbers beyond all floats
        numbers = []
    if len(numbers) != len(items) or not all(map(math.isfinite, numbers)):
        raise PreprocessingError(f"{name} is {shown(value)}; it is made of finite numbers.")
    if len(numbers) == 1:
        numbers *= count
    if len(numbers) != count:
        raise PreprocessingError(f"{name} has {len(numbers)} values for {count} channel(s): {value!r}.")
    return tuple(numbers)


def _cover(photo: Size, target: Size) -> Size:
    """Smallest size of the photo's shape that covers ``target``; the free side truncated as torchvision does."""
    height, width = photo
    if target[0] * width >= target[1] * height:
        return target[0], max(target[1], int(target[0] * width / height))
    return max(target[0], int(target[1] * height / width)), target[1]


def _centre(slack: int, rounding: str) -> int:
    """First row kept by a centre crop; negative ``slack`` is padding."""
    if rounding == "torchvision":
        return round(slack / 2) if slack >= 0 else -(-slack // 2)
    return slack // 2 if rounding == "floor" else (slack + 1) // 2


def _letterbox_offset(slack: int) -> int:
    return -round(slack / 2 - 0.1)


def _place(
    picture: Image.Image, geometry: Geometry, resample: Image.Resampling, pad: int | tuple[int, int, int]
) -> Image.Image:
    """Resizes, then crops or pads, to the geometry's canvas.

    Pillow resizes rows first, rounds, and then resizes columns; columns outside of the crop are cut off in between.
    """
    (height, width), (top, left), canvas = geometry.resized, geometry.offset, geometry.canvas
    box = (max(left, 0), max(top, 0), min(left + canvas[1], width), min(top + canvas[0], height))
    if geometry.resized == geometry.photo:
        part = picture.crop(box)
    elif _is_resized_whole(geometry):
        rows = picture.resize((width, picture.height), resample).crop((box[0], 0, box[2], picture.height))
        part = rows.resize((rows.width, height), resample).crop((0, box[1], rows.width, box[3]))
    else:
        x, y = picture.width / width, picture.height / height
        source = (box[0] * x, box[1] * y, min(box[2] * x, picture.width), min(box[3] * y, picture.height))
        part = picture.resize((box[2] - box[0], box[3] - box[1]), resample, box=source)
    if part.size == (canvas[1], canvas[0]):
        return part
    whole = Image.new(picture.mode, (canvas[1], canvas[0]), pad)
    whole.paste(part, (box[0] - left, box[1] - top))
    return whole
