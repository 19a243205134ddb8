"""The saliency map as an output of the graph itself, for runtimes without Python.

A_ij = max over channels of |w_h(i,j,ch)| (Simonyan, Vedaldi, Zisserman 2013, section 3.1), divided by
its maximum over the image; an all-zero map stays zero.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from ...errors import InputError
from ..graph.channels import channel_axis as find_channel_axis
from ..graph.emitter import Emitter
from ..photo.inside import Photo


def add_saliency(
    emit: Emitter,
    add_output: Callable[[ir.Value, str, str], ir.Value],
    variable: ir.Value,
    gradient: ir.Value,
    channel_axis: int | None,
    photo: Photo | None = None,
) -> None:
    """Add the output ``saliency_<variable>``: the gradient's shape without the channel axis.

    Where the variable is computed from a photo, the map is in the photo's pixels, and called after that.
    """
    if variable.shape is None or len(variable.shape) < 2:
        raise InputError(f"input {variable.name!r} has no batch axis and another: it has no saliency map.")
    rank = len(variable.shape)
    if channel_axis is not None and (not -rank <= channel_axis < rank or channel_axis % rank == 0):
        raise InputError(f"channel_axis={channel_axis} is not an axis of {variable.name!r}, which has rank {rank}.")
    if photo is not None:
        channel_axis = photo.channels
    axis = find_channel_axis(variable) if channel_axis is None else channel_axis % rank
    magnitude = emit.Abs(gradient)
    if axis is not None:
        magnitude = emit.ReduceMax(magnitude, [axis], keepdims=0)
    pixels = list(range(1, rank - (axis is not None)))
    peak = emit.ReduceMax(magnitude, pixels, keepdims=1) if pixels else magnitude
    zero = emit.Cast(emit.Equal(peak, 0.0), to=peak.dtype)
    saliency = emit.Div(magnitude, emit.Add(peak, zero))
    name = variable.name
    if photo is not None:
        name, saliency = photo.input.name, photo.map_to_photo(emit, emit.Cast(saliency, to=ir.DataType.FLOAT))
    add_output(saliency, f"saliency_{name}", f"saliency.{name}")


def add_magnitude(
    emit: Emitter, add_output: Callable[[ir.Value, str, str], ir.Value], variable: ir.Value, gradient: ir.Value
) -> None:
    """Add the output ``magnitude_<variable>``: the maximum over channels of the absolute gradient, where it has any."""
    axis = find_channel_axis(variable)
    if axis is None or gradient.shape is None or gradient.dtype == ir.DataType.BFLOAT16:
        return
    maximum = emit.ReduceMax(emit.Abs(gradient), [axis], keepdims=0)
    add_output(maximum, f"magnitude_{variable.name}", f"magnitude.{variable.name}")
