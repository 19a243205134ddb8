"""Arrays handed in by a user, checked against the model's inputs before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_unmasked
from ..errors import InputError, ModelError
from ..signature import InputTensor, Signature

Array = NDArray[Any]


def check_inputs(signature: Signature, x: object) -> tuple[dict[str, Array], int]:
    """Return ``x`` as feeds of the model, and the number of samples.

    Args:
        signature: describes the model that is going to be run.
        x: an array for a model with one input, or a dict with an array for every input.

    Raises:
        InputError: a name, rank, extent or type does not fit, masked elements, NaN or infinity, or no samples.
        ModelError: no input has a batch axis.
    """
    names = [i.name for i in signature.inputs]
    if not isinstance(x, Mapping):
        if len(names) != 1:
            raise InputError(f"the model has {len(names)} inputs; pass a dict with arrays for {_listed(names)}.")
        x = {names[0]: x}
    for name in x:
        if name not in names:
            raise InputError(f"the model has no input {name!r}; its inputs are {_listed(names)}.")
    missing = [name for name in names if name not in x]
    if missing:
        raise InputError(f"no array for input {_listed(missing)}; the model's inputs are {_listed(names)}.")
    if not signature.batched:
        raise ModelError(f"no input of the model ({_listed(names)}) has a batch axis; export it with one.")
    feeds = {
        tensor.name: _check_array(tensor, x[tensor.name], tensor.name in signature.batched)
        for tensor in signature.inputs
    }
    counts = {name: len(feeds[name]) for name in names if name in signature.batched}
    samples = next(iter(counts.values()))
    counts |= {name: feeds[name].shape[axis] for name, axis in signature.samples_elsewhere.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"the inputs have different numbers of samples: {counts}.")
    if all(feeds[name].size == 0 for name in signature.batched):
        name = next(name for name in names if name in signature.batched)
        raise InputError(f"input {name!r} is empty: its shape is {list(feeds[name].shape)}.")
    return feeds, samples


def _check_array(tensor: InputTensor, value: object, batched: bool) -> Array:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__array__"):
        raise InputError(
            f"input {tensor.name!r} takes an array {_shape(tensor)}; found {type(value).__name__}. "
            "Files and pictures are for explain()."
        )
    check_unmasked(f"input {tensor.name!r}", value)
    array: Array = np.asarray(value)
    if array.dtype.name != tensor.dtype:
        raise InputError(
            f"input {tensor.name!r} takes {tensor.dtype}, found {array.dtype}; "
            f"convert it with x.astype(np.{tensor.dtype}) if its values are what the model expects."
        )
    if array.ndim != len(tensor.shape):
        hint = "; add the batch axis with x[None]" if array.ndim == len(tensor.shape) - 1 else ""
        raise InputError(
            f"input {tensor.name!r} takes rank {len(tensor.shape)} {_shape(tensor)}, "
            f"found rank {array.ndim} {list(array.shape)}{hint}."
        )
    for axis, (extent, found) in enumerate(zip(tensor.shape, array.shape)):
        if isinstance(extent, int) and extent != found and not (batched and axis == 0):
            what = "channels" if axis == tensor.channel_axis else f"on axis {axis}"
            raise InputError(
                f"input {tensor.name!r} takes {_shape(tensor)}, found {list(array.shape)}: "
                f"{found} instead of {extent} {what}."
            )
    if batched and len(array) == 0:
        raise InputError(f"input {tensor.name!r} is empty: its shape is {list(array.shape)}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"input {tensor.name!r} holds {array[where]} at index {list(where)}; all values must be finite."
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _shape(tensor: InputTensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
