"""KServe's V1 protocol: {"instances": [...]} in, {"predictions": [...]} or {"explanations": [...]} out."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .orders import order_of
from .targets import file_bytes, numbers
from .work import Answer, Entry, Limits, Order

if TYPE_CHECKING:
    from ..signature import InputTensor

_BODY = ("instances", "parameters")
_INSTANCE = ("b64", "photo", "inputs", "target")


def read(
    body: object, inputs: Sequence[InputTensor], shared: Collection[str], limits: Limits, *, explain: bool
) -> Order:
    """Return the order that a body makes.

    An instance is an input tensor without its batch axis (which those in ``shared`` lack) as nested lists; {"b64": "."}
    or {"photo": {"b64": "."}}, the file of a photo; or {"inputs": {"name": [...]}} for a model with several inputs.
    The latter three take a "target".

    Raises:
        InputError: it makes none, or holds more samples than ``limits`` allow, of which none is read.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("instances"), list):
        raise InputError('a request is {"instances": [...]}, with "parameters" if need be.')
    limits.check_samples(len(body["instances"]))
    for name in body:
        if name not in _BODY:
            raise InputError(f"{name[:40]!r} is unknown in a request; there are {', '.join(_BODY)}.")
    parameters = body.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise InputError("parameters is an object.")
    entries = [_entry(one, inputs, shared) for one in body["instances"]]
    return order_of(entries, parameters, ("score", "saliency") if explain else ("score",))


def _entry(instance: object, inputs: Sequence[InputTensor], shared: Collection[str]) -> Entry:
    if isinstance(instance, list):
        if len(inputs) != 1:
            names = ", ".join(one.name for one in inputs)
            raise InputError(f'the model has the inputs {names}; an instance is {{"inputs": {{"name": [...]}}}}.')
        return Entry(inputs={inputs[0].name: _tensor(inputs[0], instance)})
    if not isinstance(instance, Mapping):
        raise InputError('an instance is a list, {"b64": "..."}, {"photo": {"b64": "..."}} or {"inputs": {...}}.')
    for name in instance:
        if name not in _INSTANCE:
            raise InputError(f"{name[:40]!r} is unknown in an instance; there are {', '.join(_INSTANCE)}.")
    if sum(name in instance for name in ("b64", "photo", "inputs")) != 1:
        raise InputError("an instance has exactly one of b64, photo and inputs.")
    target = instance.get("target")
    if "inputs" not in instance:
        value = {"b64": instance["b64"]} if "b64" in instance else instance["photo"]
        return Entry(photo=file_bytes("photo", value), target=target)
    given = instance["inputs"]
    if not isinstance(given, Mapping):
        raise InputError('"inputs" is an object: {"name": [...]}.')
    known = {one.name: one for one in inputs}
    for name in given:
        if name not in known:
            raise InputError(f"the model has no input {name[:40]!r}; it has {', '.join(known)}.")
    arrays = {name: _tensor(known[name], value) for name, value in given.items()}
    return Entry(inputs={name: a[0] if name in shared else a for name, a in arrays.items()}, target=target)


def _tensor(tensor: InputTensor, value: object) -> np.ndarray[Any, Any]:
    if tensor.dtype.startswith(("int", "uint")) and isinstance(value, list):
        try:
            whole = np.asarray(value)
        except (ValueError, OverflowError):
            raise InputError(f"{tensor.name} is made of lists of different lengths.") from None
        if whole.dtype.kind not in "iu":
            raise InputError(f"{tensor.name} takes whole numbers.")
        return whole.astype(tensor.dtype)[None]
    return numbers(tensor.name, value).astype(tensor.dtype)[None]


def written(order: Order, answers: Sequence[Sequence[Answer]], *, explain: bool) -> dict[str, Any]:
    """Return the answers as a body; several of one instance are a list. Arrays stay arrays, for the JSON encoder."""
    rows = [[_item(order, one) for one in several] for several in answers]
    lists = [len(several) != 1 or isinstance(entry.target, list) for several, entry in zip(rows, order.entries)]
    return {
        "explanations" if explain else "predictions": [
            several if listed else several[0] for several, listed in zip(rows, lists)
        ]
    }


def _item(order: Order, answer: Answer) -> dict[str, Any]:
    found, facts = answer.found, dict(answer.found.facts)
    facts["top"] = [asdict(one) for one in facts["top"]]
    box = found.place.get("box")
    item: dict[str, Any] = {**facts, "box": None if box is None else [box.x0, box.y0, box.x1, box.y1]}
    if answer.geometry is not None:
        item["size"], item["crop_box"] = list(answer.geometry.photo), list(answer.geometry.crop_box)
    if "saliency" in order.outputs:
        item["saliency"] = _one(found.maps)
    if "gradient" in order.outputs:
        item["gradient"] = _one(found.gradients)
    if answer.png is not None:
        item["png"] = {"b64": base64.b64encode(answer.png).decode()}
    return item


def _one(arrays: Mapping[str, np.ndarray[Any, Any]]) -> object:
    """The array, or those of several inputs by their names; contiguous, as the encoder wants them."""
    found = {
        name: np.ascontiguousarray(array if array.dtype != np.float16 else array.astype(np.float32))
        for name, array in arrays.items()
    }
    return next(iter(found.values())) if len(found) == 1 else found
