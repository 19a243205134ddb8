"""Targets as requests write them: a class, a label, "top3", or an object with the fields of a Target."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, TargetError
from ..photos import load_image, load_mask
from ..target import At, Box, Target

_TOP = re.compile(r"top([1-9]\d{0,5})", re.IGNORECASE)
_FIELDS = ("of", "at", "versus", "like", "output", "weights")
#: The vector that the model makes of a photo.
Embed = Callable[[NDArray[np.uint8]], NDArray[Any]]


@dataclass(frozen=True)
class Question:
    """What is asked of one sample: its targets one after the other, or the ``top`` best classes of the only one."""

    targets: tuple[Target, ...]
    top: int | None = None

    @property
    def answers(self) -> int:
        """How many answers there are."""
        return self.top or len(self.targets)


class TargetReader:
    """Reads the targets of requests.

    ``embed`` is for the photos in them, which have ``max_pixels`` each at most; a request gets ``most`` answers.
    """

    def __init__(self, embed: Embed, *, max_pixels: int, most: int) -> None:
        self._embed, self._max_pixels, self._most = embed, max_pixels, most

    def question(self, value: object, before: int = 0) -> Question:
        """Return what a target in JSON asks; a list holds several. ``before`` answers are asked for already.

        Raises:
            TargetError, InputError, ImageError: it makes no target; or too many, of which none is read.
        """
        if isinstance(value, list):
            if not value:
                raise TargetError("the list of targets is empty; leave it out for the predicted class.")
            self._check_number(before + len(value))
            return Question(tuple(self.target(one) for one in value))
        self._check_number(before + 1)
        one = self.target(value)
        top = _TOP.fullmatch(one.of.strip()) if isinstance(one.of, str) else None
        if top is None:
            return Question((one,))
        self._check_number(before + int(top[1]))
        return Question((Target(None, at=one.at, versus=one.versus, output=one.output),), int(top[1]))

    def target(self, value: object, *, subtracted: bool = False) -> Target:
        """Return one target; one that is subtracted from another subtracts none itself.

        Raises:
            TargetError, InputError, ImageError: it makes none.
        """
        if value is None or is_class(value):
            return Target(value)  # type: ignore[arg-type]
        if not isinstance(value, Mapping):
            raise TargetError(f"a target is a class, a label or an object; found {_kind(value)}.")
        for name in value:
            if name not in _FIELDS:
                raise TargetError(f"a target has no {str(name)[:40]!r}; it has {', '.join(_FIELDS)}.")
        of, versus, output = value.get("of"), value.get("versus"), value.get("output")
        if subtracted and versus is not None:
            raise TargetError("the target in versus has a versus of its own; subtract one target only.")
        if of is not None and not is_class(of):
            raise TargetError(f"of is a class or a label; found {_kind(of)}.")
        return Target(
            of,
            at=self._place(value.get("at")),
            versus=self.target(versus, subtracted=True) if isinstance(versus, Mapping) else _class("versus", versus),
            like=self._reference(value.get("like")),
            output=output,
            weights=None if value.get("weights") is None else numbers("weights", value["weights"]),
        )

    def _check_number(self, asked: int) -> None:
        if asked > self._most:
            raise InputError(f"a request gets at most {self._most} answers; ask for fewer.")

    def _place(self, value: object) -> At:
        """The place that "at" names: a word, a step, [row, column], {"box": [...]} or {"mask": ...}."""
        if value is None or isinstance(value, str):
            return value  # type: ignore[return-value]
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, list) and len(value) == 2 and all(map(_is_int, value)):
            return int(value[0]), int(value[1])
        if isinstance(value, Mapping) and list(value) == ["box"]:
            return _box(value["box"])
        if isinstance(value, Mapping) and list(value) == ["mask"]:
            mask = value["mask"]
            if not isinstance(mask, Mapping):
                return numbers("mask", mask)
            return load_mask(file_bytes("mask", mask), max_pixels=self._max_pixels).astype(np.float32)
        raise TargetError(
            'at is "best", "own", "all", a step, [row, column], {"box": [x0, y0, x1, y1]} or {"mask": ...}; '
            f"found {_kind(value)}."
        )

    def _reference(self, value: object) -> NDArray[Any] | None:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return self._embed(load_image(file_bytes("like", value), max_pixels=self._max_pixels))
        return numbers("like", value)


def file_bytes(name: str, value: object) -> bytes:
    """Return the file in {"b64": "..."}.

    Raises:
        InputError: there is none.
    """
    if not isinstance(value, Mapping) or list(value) != ["b64"] or not isinstance(value["b64"], str):
        raise InputError(f'{name} is a file, {{"b64": "..."}}; found {_kind(value)}. Nothing is fetched.')
    return decode_base64(name, value["b64"])


def decode_base64(name: str, text: str) -> bytes:
    """Return the bytes of a text in base64.

    Raises:
        InputError: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{name} is not base64.") from None


def numbers(name: str, value: object) -> NDArray[np.float32]:
    """Return nested lists of numbers as an array.

    Raises:
        InputError: they are none, or of different lengths.
    """
    try:
        found = np.asarray(value)
    except (ValueError, OverflowError):
        raise InputError(f"{name} is made of lists of different lengths.") from None
    if not isinstance(value, list) or found.size == 0 or found.dtype.kind not in "iuf":
        raise InputError(f"{name} is a list of numbers, or lists of these; found {_kind(value)}.")
    with np.errstate(over="ignore"):
        found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise InputError(f"{name} holds a number that is not finite in float32.")
    return found


def is_class(value: object) -> bool:
    """Whether a value may be a class: a number that fits into int64, or a label."""
    return isinstance(value, str) or (_is_int(value) and -(2**63) <= value < 2**63)  # type: ignore[operator]


def _class(name: str, value: object) -> int | str | None:
    if value is None or is_class(value):
        return value  # type: ignore[return-value]
    raise TargetError(f"{name} is a class or a label; found {_kind(value)}.")


def _box(value: object) -> Box:
    if not isinstance(value, list) or len(value) != 4:
        raise TargetError(f"box is [x0, y0, x1, y1] in pixels; found {_kind(value)}.")
    return Box(*value)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: object) -> str:
    """What a value is, in the words of JSON, and never the value itself, which may be long."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else type(value).__name__)
