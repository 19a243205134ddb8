"""What requests of all protocols have in common: the parameters that make an order of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from .work import OUTPUTS, Entry, Order

#: Name of a parameter -> the type of its value in JSON, in words.
PARAMETERS: dict[str, tuple[type, ...]] = {
    "target": (object,),
    "method": (str,),
    "options": (dict,),
    "outputs": (list,),
    "picture": (str,),
    "signed": (bool,),
    "colormap": (str,),
    "alpha": (int, float),
}
_DRAWING = ("picture", "signed", "colormap", "alpha")


def order_of(
    entries: Sequence[Entry],
    parameters: Mapping[str, Any],
    outputs: Sequence[str],
    others: Sequence[str] = (),
) -> Order:
    """Return the order of samples that these parameters make.

    Args:
        entries: the samples; those without a target get that of the parameters.
        parameters: those of the request.
        outputs: what is wanted unless the parameters say so.
        others: parameters that are none of the order's.

    Raises:
        InputError: a parameter is unknown, or of another type.
    """
    for name, value in parameters.items():
        if name in others:
            continue
        if name not in PARAMETERS:
            raise InputError(f"parameter {name[:40]!r} is unknown; there are {', '.join(PARAMETERS)}.")
        kinds = PARAMETERS[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
            raise InputError(f"parameter {name!r} is {_words(kinds)}; found {type(value).__name__}.")
    wanted = parameters.get("outputs", list(outputs))
    for name in wanted:
        if name not in OUTPUTS:
            raise InputError(f"output {str(name)[:40]!r} is unknown; there are {', '.join(OUTPUTS)}.")
    target = parameters.get("target")
    return Order(
        entries=[Entry(one.photo, one.inputs, target) if one.target is None else one for one in entries],
        method=parameters.get("method", "saliency"),
        options=parameters.get("options", {}),
        outputs=frozenset(wanted),
        drawing={name: parameters[name] for name in _DRAWING if name in parameters},
    )


def _words(kinds: Sequence[type]) -> str:
    words = {str: "a text", dict: "an object", list: "a list", bool: "true or false", int: "a number"}
    return words.get(kinds[0], "a value")
