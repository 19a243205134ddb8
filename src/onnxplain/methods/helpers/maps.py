"""Image-specific class saliency (Simonyan, Vedaldi, Zisserman 2013, "Deep Inside Convolutional Networks", section 3).

The attribution of a sample is w = dS_c/dI, one backward pass with fixed weights; its saliency map is the maximum
over channels of |w|, normalised for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import native
from ...errors import GradientError

Array = NDArray[Any]


def saliency(
    gradient: Array,
    names: Sequence[str],
    *,
    channel_axis: int | None,
    reduction: native.Reduction = "max_abs",
    normalize: native.Normalization = "max",
    percentile: float = 99.0,
    threads: int = 0,
) -> NDArray[np.float32]:
    """Return the saliency maps of raw gradients [n, ...], float32 without the channel axis: [n,H,W] for images.

    ``names`` are what the n samples are called; the rest is as in :func:`onnxplain.native.saliency`.

    Raises:
        GradientError: NaN or infinity; the message names the sample.
        InputError: an argument does not fit.
    """
    try:
        return native.saliency(
            gradient,
            channel_axis=channel_axis,
            reduction=reduction,
            normalize=normalize,
            percentile=percentile,
            threads=threads,
        )
    except GradientError:
        check_finite(gradient, names)
        raise


def check_finite(gradient: Array, names: Sequence[str]) -> None:
    """Refuse NaN and infinity in gradients [n, ...]; ``names`` are what the n samples are called.

    Raises:
        GradientError: with the first such sample's name.
    """
    if np.isfinite(gradient).all():
        return
    finite = np.isfinite(gradient.reshape(len(gradient), -1)).all(axis=1)
    raise GradientError(
        f"the gradient of {names[int(np.argmin(finite))]} holds NaN or infinity, so it explains nothing; check whether "
        "the model overflows on it (float16 models often do: run them in float32)."
    )
