"""What an explanation says of how it was made: enough to make it again, and to see whether it is the same.

A record is plain values for JSON, as docs/schemas/explanation-1.json describes them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import shown
from ..errors import InputError
from ..methods import Method
from ..runtime.fingerprint import file_digest
from ..target import Box, Target

#: What a record says of itself: the name and version of its schema, docs/schemas/explanation-1.json.
SCHEMA = "onnxplain/explanation-1"
#: Key of the text in a PNG file that is the record of its map.
METADATA_KEY = "onnxplain"
#: Values of a map that its record has, along a side.
_GRID = 8


@dataclass(frozen=True)
class Origin:
    """How an explanation was made, as plain values for JSON.

    - ``model``: "path" (None: in memory), "sha256" of its file (None: it cannot be told), and "files", the SHA-256 of
      every file beside it that holds weights, by its name.
    - ``loading``: the arguments of the Explainer that decide what is computed.
    - ``preprocessing``: :meth:`Preprocessing.to_dict`; ``form``: how the gradient is written, None without gradients.
    - ``versions``: of onnxplain, onnxruntime, onnx and numpy.
    - ``options``: those of the method; ``question``: see :func:`question_of`.
    """

    model: Mapping[str, Any]
    loading: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    form: str | None
    versions: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    question: Mapping[str, Any] = field(default_factory=dict)


_UNKNOWN = dict.fromkeys(one.name for one in fields(Origin))


def origin_facts(origin: Origin | None) -> dict[str, Any]:
    """Return the parts of a record that an origin has; each is None without one."""
    return dict(_UNKNOWN) if origin is None else {name: getattr(origin, name) for name in _UNKNOWN}


def options_of(method: Method) -> dict[str, Any]:
    """Return the options of a method as plain values; an array, or an object, is described."""
    return {one.name: plain(getattr(method, one.name)) for one in fields(method)}


def question_of(target: Target, index: int | None, class_of: Callable[[Any], int]) -> dict[str, Any]:
    """Return a target as plain values: classes by their numbers, so that they need no labels.

    Args:
        target: what was asked.
        index: the class that was explained, which may be the predicted one.
        class_of: the number of a class that a label names.
    """
    named = target.column if target.column is not None else None if target.like is not None else index
    return {
        "of": None if target.weights is not None else named,
        "at": _place(target.at),
        "versus": _versus(target.versus, class_of),
        "like": plain(target.like),
        "weights": plain(target.weights),
        "output": target.output,
    }


def map_facts(values: NDArray[np.float32]) -> dict[str, Any]:
    """Return the shape of a map [h,w], the SHA-256 of its float32 values (little-endian, row by row), and some of them.

    ``samples`` are 8 by 8 values in the middles of equal parts of the map, row by row.
    """
    return {
        "shape": list(values.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest(),
        "samples": samples_of(values).ravel().tolist(),
    }


def samples_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values of a map [h,w] that a record has [8,8]."""
    rows, columns = ((2 * np.arange(_GRID) + 1) * extent // (2 * _GRID) for extent in values.shape)
    return values[np.ix_(rows, columns)]


def photo_facts(path: str | None, image: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the SHA-256 of a photo's file (None without one), and that of its pixels, uint8 RGB [H,W,3]."""
    digest = None
    if path is not None:
        with suppress(OSError):
            digest = file_digest(path)
    return {"path": path, "sha256": digest, "pixels_sha256": pixels_sha256(image)}


def pixels_sha256(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of uint8 RGB [H,W,3], row by row."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def plain(value: Any) -> Any:
    """Return a value as JSON has it; a target by what it states, an array as its shape, type and SHA-256.

    Another object is described by its type.
    """
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"number": repr(value)}
    if isinstance(value, (Target, Box)):
        stated = {one.name: getattr(value, one.name) for one in fields(value)}
        return plain({name: one for name, one in stated.items() if one is not None})
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)) and len(value) <= _GRID * _GRID:
        return [plain(one) for one in value]
    if isinstance(value, (list, tuple, np.ndarray)):
        array = np.ascontiguousarray(value)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        return {"array": {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}}
    return {"object": type(value).__name__}


def without_folders(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record whose paths are names alone: pictures are passed on, and folders say whose they were."""
    shown = {**record, "source": _name(record["source"])}
    for part in ("model", "photo"):
        if shown[part] is not None:
            shown[part] = {**shown[part], "path": _name(shown[part]["path"])}
    return {**shown, "files": [_name(path) for path in record["files"]]}


def _name(path: str | None) -> str | None:
    return None if path is None else Path(path).name


def _place(at: Any) -> Any:
    if isinstance(at, Box):
        return {"box": list(asdict(at).values())}
    return plain(np.asarray(at)) if isinstance(at, np.ndarray) else plain(at)


def _versus(versus: Any, class_of: Callable[[Any], int]) -> Any:
    if versus is None:
        return None
    if isinstance(versus, Target):
        return question_of(versus, None if versus.of is None else class_of(versus.of), class_of)
    return class_of(versus)


def known_value(what: str, value: object) -> object:
    """Return a value that :func:`plain` made plain.

    Raises:
        InputError: the record has a hash in its place.
    """
    if isinstance(value, dict):
        kind = next((word for word in ("array", "object", "number") if word in value), "object")
        raise InputError(f"{what} was an {kind} in memory, of which a record has no more than a hash.")
    return value


def read_question(question: Any, *, depth: int = 0) -> Target:
    """Return the target that :func:`question_of` made plain; ``depth`` counts the targets around it.

    Raises:
        InputError, TargetError: it is no target, or the record has not all of it.
    """
    names = [one.name for one in fields(Target)]
    if not isinstance(question, dict) or not set(question) <= set(names) or depth > 1:
        raise InputError(f"question of the record is an object with {', '.join(names)}; found {shown(question)}.")
    given = {name: value for name, value in question.items() if value is not None}
    at = given.get("at")
    if isinstance(at, dict) and set(at) == {"box"}:
        if not _are_finite(at["box"]) or len(at["box"]) != 4:
            raise InputError(f"question.at.box of the record is x0, y0, x1, y1; found {shown(at['box'])}.")
        given["at"] = Box(*at["box"])
    elif at is not None:
        given["at"] = _read_place(at)
    versus = given.get("versus")
    if isinstance(versus, dict):
        given["versus"] = read_question(versus, depth=depth + 1)
    elif versus is not None and not _is_class(versus):
        raise InputError(f"question.versus of the record is a class or a question; found {shown(versus)}.")
    for name in ("like", "weights"):
        if name in given:
            value = known_value(f"the target's {name}", given[name])
            if not _are_finite(value):
                raise InputError(f"question.{name} of the record is a list of numbers; found {shown(value)}.")
            given[name] = np.asarray(value, np.float32)
    return Target(**given)


def _read_place(at: Any) -> Any:
    value = known_value("the place of the target", at)
    if isinstance(value, str) or _is_class(value):
        return value
    if isinstance(value, list) and len(value) == 2 and all(map(_is_class, value)):
        return value[0], value[1]
    raise InputError(
        f"question.at of the record is a word, a position, a row and a column, or a box; found {shown(at)}."
    )


def _is_class(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31


def _are_finite(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < 1e30 for one in value
    )
