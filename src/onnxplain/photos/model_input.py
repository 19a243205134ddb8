"""What a model's image input demands of a preprocessing: layout, channels, size and type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PreprocessingError
from .preprocessing import Layout, Preprocessing

_FLOATS = ("float16", "float32", "float64")
_CHANNEL_COUNTS = (1, 3)


@dataclass(frozen=True)
class ModelInput:
    """The image input of a model; None stands for an extent that the model leaves open."""

    layout: Layout
    channels: int | None
    height: int | None
    width: int | None
    dtype: str = "float32"

    @classmethod
    def of(cls, shape: Sequence[int | str | None], dtype: str = "float32", layout: Layout | None = None) -> ModelInput:
        """Read a rank-4 input shape; symbolic, missing and negative extents are open.

        Without ``layout`` the axis of 1 or 3 channels decides.

        Raises:
            PreprocessingError: another rank, an input type that no pixel fits, or a layout that cannot be told.
        """
        if len(shape) != 4:
            raise PreprocessingError(
                f"the model's input has shape {list(shape)}, not the four axes of images; "
                "hand the input tensor itself to attribute() or saliency()."
            )
        if dtype not in (*_FLOATS, "uint8"):
            raise PreprocessingError(f"the model's input is {dtype}; pixels can be made float or uint8.")
        extents = [n if isinstance(n, int) and n > 0 else None for n in shape]
        first, last = extents[1] in _CHANNEL_COUNTS, extents[3] in _CHANNEL_COUNTS
        if layout is None:
            if first == last:
                raise PreprocessingError(
                    f"the model's input {list(shape)} does not show which axis holds the channels; "
                    'state layout="NCHW" or layout="NHWC".'
                )
            layout = "NCHW" if first else "NHWC"
        if layout == "NCHW":
            return cls(layout, extents[1], extents[2], extents[3], dtype)
        return cls(layout, extents[3], extents[1], extents[2], dtype)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) if the model fixes both."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    def fit(self, preprocessing: Preprocessing, source: str) -> Preprocessing:
        """Return the preprocessing with the model's layout and float type; everything else must already agree.

        Raises:
            PreprocessingError: another channel count or another size; the message has both numbers.
        """
        if self.channels not in (None, preprocessing.channel_count):
            raise PreprocessingError(
                f"{source} makes {preprocessing.channel_count} channel(s) ({preprocessing.channels}), "
                f"the model's input has {self.channels}; state channels that fit it."
            )
        fitted = preprocessing.replace(layout=self.layout)
        if self.dtype in _FLOATS and fitted.dtype in _FLOATS:
            fitted = fitted.replace(dtype=self.dtype)
        elif self.dtype != fitted.dtype:
            plain = fitted.scale == 1 and not any(fitted.mean) and set(fitted.std) == {1.0}
            if self.dtype == "uint8" and not plain:
                raise PreprocessingError(
                    f"the model takes plain uint8 pixels, but {source} scales them (scale {fitted.scale:g}, mean "
                    f'{list(fitted.mean)}, std {list(fitted.std)}); use the preset "none" or scale 1, mean 0, std 1.'
                )
            fitted = fitted.replace(dtype=self.dtype)
        return self._fit_size(fitted, source)

    def _fit_size(self, preprocessing: Preprocessing, source: str) -> Preprocessing:
        output = preprocessing.output_size
        if output is None:
            if self.height is None and self.width is None:
                return preprocessing
            fixed = f"{self.height or 'any'}x{self.width or 'any'}"
            if preprocessing.resize == "none":
                return preprocessing if self.size is None else preprocessing.replace(size=self.size)
            raise PreprocessingError(
                f"{source} resizes the shorter side to {preprocessing.size} and crops nothing, but the model's "
                f"input is fixed at {fixed} (height x width); add a crop, or resize exactly."
            )
        for name, wanted, made in (("high", self.height, output[0]), ("wide", self.width, output[1])):
            if wanted not in (None, made):
                raise PreprocessingError(
                    f"{source} makes images {made} pixels {name}, the model's input is fixed at {wanted}; "
                    "state a preprocessing with the model's size."
                )
        return preprocessing
