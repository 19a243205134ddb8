"""The C++ kernels: gradients to saliency maps, noise and sums over many gradients, and saliency maps to pictures.

This module is the only importer of ``onnxplain._native``. It checks arguments; the kernels do the work, on as
many threads as asked for, without the GIL. :mod:`onnxplain.native_reference` says in NumPy what they compute.

Environment: ``ONNXPLAIN_ISA`` forces an instruction set (``portable``, ``avx2`` or ``avx512``) for every call.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _native
from .checks import check_unmasked
from .errors import GradientError, InputError

__all__ = [
    "Normalization",
    "Reduction",
    "accumulate",
    "add_noise",
    "available_instruction_sets",
    "instruction_set",
    "overlay",
    "saliency",
]

Normalization = Literal["max", "minmax", "percentile", "none"]
Reduction = Literal["max_abs", "sum", "abs_sum", "positive"]

_NORMALIZATIONS = ("max", "minmax", "percentile", "none")
_REDUCTIONS = ("max_abs", "sum", "abs_sum", "positive")
_FLOATS = (np.float16, np.float32, np.float64)
_ISA_VARIABLE = "ONNXPLAIN_ISA"
_AVAILABLE = tuple(_native.available_instruction_sets())


def available_instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets that this processor and system can run, slowest first; always has ``portable``."""
    return _AVAILABLE


def instruction_set() -> str:
    """Return the instruction set that the kernels use: the fastest one, or the one that ``ONNXPLAIN_ISA`` names.

    Raises:
        InputError: ``ONNXPLAIN_ISA`` names a set that is unknown or cannot run here.
    """
    forced = os.environ.get(_ISA_VARIABLE)
    if not forced:
        return _AVAILABLE[-1]
    if forced not in _AVAILABLE:
        raise InputError(
            f"the environment variable {_ISA_VARIABLE} is {forced!r}, which is not an instruction set that runs "
            f"here; use one of {', '.join(_AVAILABLE)}, or unset it for the fastest."
        )
    return forced


def saliency(
    gradient: npt.NDArray[Any],
    *,
    channel_axis: int | None = 1,
    reduction: Reduction = "max_abs",
    normalize: Normalization = "max",
    percentile: float = 99.0,
    out: npt.NDArray[np.float32] | None = None,
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """Reduce gradients to saliency maps: the channels of each position to one number, then each image normalised.

    The default, absolute value and then maximum over channels, is the image-specific saliency map of Simonyan,
    Vedaldi and Zisserman 2013, "Deep Inside Convolutional Networks", section 3.1.

    Args:
        gradient: float16, float32 or float64, rank 2 or more, axis 0 the image: [N,C,H,W], [N,H,W,C], [N,C,L],
            [N,F]. Any strides. float64 is rounded to float32 first.
        channel_axis: the axis that is reduced, 1..rank-1 or negative; None: there is none, so every element is a
            position with one channel.
        reduction: ``"max_abs"``: max over channels of abs(w). ``"sum"``: sum over channels of w, for attributions
            whose channels add up to a share of the score (integrated gradients, input times gradient).
            ``"abs_sum"``: its absolute value. ``"positive"``: the sum where it is positive, else zero. Sums are
            float32 sums from the first channel to the last.
        normalize: ``"max"``: divided by the image's largest magnitude. ``"minmax"``: (a - min) / (max - min).
            ``"percentile"``: divided by the image's percentile of magnitudes and clipped to 1 (and -1).
            ``"none"``: left as is. With the first three the maps lie in 0..1, those of ``"sum"`` (but for
            ``"minmax"``) in -1..1, and a map that is zero everywhere, or which ``"minmax"`` finds constant, is
            zero everywhere. Where the percentile is zero and the maximum is not, the map is 1 (or -1) where it is
            not zero: the limit of dividing by a small percentile and clipping.
        percentile: for ``"percentile"``, 0..100, interpolated linearly like ``numpy.percentile``.
        out: float32, C-contiguous, writable, of the result's shape, apart from `gradient` in memory. Its
            content is unspecified after an error.
        threads: how many threads work; 0: as many as there are cores for this process. Small inputs use fewer.

    Returns:
        float32 of the gradient's shape without the channel axis: [N,H,W] for images; `out` if it was given.
        Without channels (C = 0) it is zero; without images or positions it is empty.

    Raises:
        GradientError: a gradient holds NaN or infinity (or a float64, a sum or a range beyond float32's), in
            whatever way it is normalised; the message names the image.
        InputError: an argument does not fit, or ``ONNXPLAIN_ISA`` is wrong.
    """
    _check_gradient("gradient", gradient)
    if gradient.ndim < 2:
        raise InputError(
            f"gradient must have rank 2 or more, axis 0 being the image; found shape {gradient.shape}; "
            "add an axis for a single image with gradient[None]."
        )
    axis = channel_axis
    if axis is not None:
        axis = axis + gradient.ndim if axis < 0 else axis
        if not 1 <= axis < gradient.ndim:
            raise InputError(
                f"channel_axis must be 1..{gradient.ndim - 1}, negative, or None for a gradient of shape "
                f"{gradient.shape}; found {channel_axis}; axis 0 is the image."
            )
    if reduction not in _REDUCTIONS:
        raise InputError(f"reduction must be one of {', '.join(_REDUCTIONS)}; found {reduction!r}.")
    if normalize not in _NORMALIZATIONS:
        raise InputError(f"normalize must be one of {', '.join(_NORMALIZATIONS)}; found {normalize!r}.")
    if not 0.0 <= percentile <= 100.0:
        raise InputError(f"percentile must lie in 0..100; found {percentile}.")
    shape = tuple(extent for i, extent in enumerate(gradient.shape) if i != axis)
    out = _output(out, shape, np.dtype(np.float32), {"gradient": gradient})
    count, first = _native.saliency(
        gradient, axis, normalize, percentile, out, _thread_count(threads), instruction_set(), reduction
    )
    if count:
        raise GradientError(
            f"the gradient of image {first} holds NaN or infinity ({count} of {gradient.shape[0]} images do), so "
            "it has no saliency map; check that image for NaN, and whether the model overflows on it "
            "(float16 models often do: run them in float32)."
        )
    return out


def add_noise(
    x: npt.NDArray[np.float32],
    deviation: float,
    key: int,
    *,
    out: npt.NDArray[np.float32] | None = None,
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """x + deviation e with independent numbers e from N(0, 1), which depend on `key` and their place alone.

    From u and v, uniform in (0, 1], come the two numbers sqrt(-2 ln u) cos 2πv and sqrt(-2 ln u) sin 2πv (Box and
    Muller 1958, "A note on the generation of random normal deviates"); u and v are words of Philox4x32-10, a function
    of key and place (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). All of it has the same bits
    on every processor and with any number of threads. It is float32 arithmetic: u has 24 bits
    and is 2^-33 or more, so that no number is further than 6.8 from zero, and e is within 1e-6 of the formula.

    Args:
        x: float32 of any shape, C-contiguous. The place of a number is that in row-major order, so that x[:k] of
            a vector gets the first k numbers of x.
        deviation: the standard deviation, finite, 0 or more.
        key: 0..2^64 - 1: chooses one of as many sequences.
        out: float32, C-contiguous, writable, of the shape of `x`, apart from it in memory.
        threads: how many threads work; 0: as many as there are cores for this process. Small inputs use fewer.

    Returns:
        float32 of the shape of `x`; `out` if it was given.

    Raises:
        InputError: an argument does not fit, or ``ONNXPLAIN_ISA`` is wrong.
    """
    _check_array("x", x, np.dtype(np.float32))
    if not x.flags.c_contiguous or not x.flags.aligned:
        raise InputError("x must be C-contiguous and aligned; pass np.ascontiguousarray(x).")
    if not 0.0 <= deviation <= float(np.finfo(np.float32).max):
        raise InputError(f"deviation must be finite in float32, 0 or more; found {deviation}.")
    if not 0 <= key < 2**64:
        raise InputError(f"key must lie in 0..2^64 - 1; found {key}.")
    out = _output(out, x.shape, np.dtype(np.float32), {"x": x})
    _native.add_noise(x, deviation, key, out, _thread_count(threads), instruction_set())
    return out


def accumulate(
    gradients: npt.NDArray[Any],
    total: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64] | None = None,
    *,
    threads: int = 0,
) -> None:
    """Add the sum over samples to `total`, and the sum of their squares to `squares`, in one pass, in float64.

    With k samples in all, the mean is total / k (SmoothGrad: Smilkov et al. 2017, "SmoothGrad: removing noise by
    adding noise"), the mean square squares / k (SmoothGrad squared: Hooker et al. 2019, "A benchmark for
    interpretability methods") and the variance squares / k - mean^2 (VarGrad: Adebayo et al. 2018, "Local
    explanation methods for deep neural networks lack sensitivity to parameter values").

    Args:
        gradients: float16, float32 or float64, rank 1 or more, axis 0 the sample: [k, ...]. Any strides, so
            [n, k, ...] with k noisy copies of n images is accumulated as ``gradients.swapaxes(0, 1)``.
        total: float64 [...], C-contiguous, writable, apart from the others in memory; added to in place.
        squares: the same, or None: squares are not wanted.
        threads: how many threads work; 0: as many as there are cores for this process. Small inputs use fewer.

    NaN and infinity spread to the sums. Samples are added one by one, so that neither threads nor batches change
    a bit.

    Raises:
        InputError: an argument does not fit, or ``ONNXPLAIN_ISA`` is wrong.
    """
    _check_gradient("gradients", gradients)
    if gradients.ndim < 1:
        raise InputError("gradients must have rank 1 or more, axis 0 being the sample; found a scalar.")
    shape, double = gradients.shape[1:], np.dtype(np.float64)
    _check_output("total", total, shape, double, {"gradients": gradients})
    if squares is not None:
        _check_output("squares", squares, shape, double, {"gradients": gradients, "total": total})
    _native.accumulate(gradients, total, squares, _thread_count(threads), instruction_set())


def overlay(
    saliency: npt.NDArray[np.float32],
    photo: npt.NDArray[np.uint8] | None,
    colormap: npt.NDArray[np.uint8],
    *,
    alpha: float = 0.5,
    weight_by_saliency: bool = False,
    out: npt.NDArray[np.uint8] | None = None,
    threads: int = 0,
) -> npt.NDArray[np.uint8]:
    """Colour saliency maps and blend them over photos, in one pass.

    Every colour is ``photo + weight * (color - photo)`` rounded to the nearest integer, where ``color`` is entry
    ``round(255 * saliency)`` of the colour map and ``weight``, in steps of 1/65536, is `alpha`, or
    ``alpha * saliency`` with `weight_by_saliency`.

    Args:
        saliency: float32 [N,H,W] or [H,W]; clipped to 0..1. Any strides.
        photo: uint8 RGB of the same shape with a last axis of 3. Any strides. None: the colours alone; `alpha`
            and `weight_by_saliency` then play no part.
        colormap: uint8 [256,3] RGB, entry 0 for saliency 0.
        alpha: 0..1; 0 leaves the photo, 1 covers it.
        weight_by_saliency: let the photo through where the saliency is low.
        out: uint8, C-contiguous, writable, of the result's shape, apart from the other arrays in memory. Its
            content is unspecified after an error.
        threads: how many threads work; 0: as many as there are cores for this process. Small inputs use fewer.

    Returns:
        uint8 RGB [N,H,W,3] or [H,W,3]; `out` if it was given.

    Raises:
        InputError: an argument does not fit, a map holds NaN, or ``ONNXPLAIN_ISA`` is wrong.
    """
    _check_array("saliency", saliency, np.dtype(np.float32))
    if saliency.ndim not in (2, 3):
        raise InputError(f"saliency must be [N,H,W] or [H,W]; found shape {saliency.shape}.")
    shape = (*saliency.shape, 3)
    if photo is not None:
        _check_array("photo", photo, np.dtype(np.uint8))
        if photo.shape != shape:
            raise InputError(
                f"photo must have shape {shape} to fit saliency of shape {saliency.shape}; found {photo.shape}; "
                "resize one to the other first."
            )
    _check_array("colormap", colormap, np.dtype(np.uint8))
    if colormap.shape != (256, 3):
        raise InputError(f"colormap must have shape (256, 3); found {colormap.shape}.")
    if not 0.0 <= alpha <= 1.0:
        raise InputError(f"alpha must lie in 0..1; found {alpha}.")
    inputs = {"saliency": saliency, "photo": photo, "colormap": colormap}
    out = _output(out, shape, np.dtype(np.uint8), inputs)
    single = saliency.ndim == 2
    count, first = _native.overlay(
        saliency[None] if single else saliency,
        photo[None] if single and photo is not None else photo,
        np.ascontiguousarray(colormap),
        alpha,
        weight_by_saliency,
        out,
        _thread_count(threads),
        instruction_set(),
    )
    if count:
        images = 1 if single else saliency.shape[0]
        raise InputError(
            f"the saliency map of image {first} holds NaN ({count} of {images} maps do), which has no colour."
        )
    return out


def _check_gradient(name: str, gradient: object) -> None:
    if not isinstance(gradient, np.ndarray) or gradient.dtype not in _FLOATS:
        found = gradient.dtype if isinstance(gradient, np.ndarray) else type(gradient).__name__
        raise InputError(
            f"{name} must be a NumPy array of float16, float32 or float64 in native byte order; found {found}; "
            f"convert it with np.asarray({name}, dtype=np.float32)."
        )
    check_unmasked(name, gradient)


def _check_array(name: str, array: object, dtype: np.dtype[Any]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{name} must be a NumPy array of {dtype}; found {found}.")
    check_unmasked(name, array)


def _check_output(
    name: str,
    out: npt.NDArray[Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: dict[str, npt.NDArray[Any] | None],
) -> None:
    """`out` can be written while `inputs` are read."""
    _check_array(name, out, dtype)
    if out.shape != shape:
        raise InputError(f"{name} must have shape {shape}; found {out.shape}.")
    if not out.flags.c_contiguous or not out.flags.aligned:
        raise InputError(f"{name} must be C-contiguous and aligned; pass an array like np.empty(shape, dtype).")
    if not out.flags.writeable:
        raise InputError(f"{name} is read-only; pass an array that can be written.")
    for other, array in inputs.items():
        if array is not None and np.may_share_memory(out, array):
            raise InputError(f"{name} overlaps {other} in memory; pass a separate array.")


def _output(
    out: npt.NDArray[Any] | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: dict[str, npt.NDArray[Any] | None],
) -> npt.NDArray[Any]:
    """`out` itself if it can be written while `inputs` are read, or a new array if it is None."""
    if out is None:
        return np.empty(shape, dtype)
    _check_output("out", out, shape, dtype, inputs)
    return out


def _thread_count(threads: int) -> int:
    if threads < 0:
        raise InputError(f"threads must be 0 (all cores) or a positive count; found {threads}.")
    if threads:
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
