"""A record read back: what a map was made of, and whether another one is the same."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..checks import check_file, check_number, shown
from ..errors import InputError, OnnxplainError
from ..methods import METHODS, Method, find_method
from ..photos import Preprocessing, load_image
from ..runtime.fingerprint import file_digest
from ..runtime.workers import cores
from ..target import Target
from .explanation import Explanation
from .record import METADATA_KEY, SCHEMA, known_value, map_facts, pixels_sha256, plain, read_question, samples_of

#: Bytes of a file with records, and records in it, that are read.
_MOST_BYTES, _MOST_RECORDS = 1 << 26, 10_000
_HASH = re.compile("[0-9a-f]{64}")
_TEXT, _NUMBER = (str, type(None)), (int, type(None))
#: Arguments of an Explainer that a record states, with the types that they have in JSON.
_LOADING: dict[str, tuple[type, ...]] = {
    "tensor": _TEXT,
    "wrt": _TEXT,
    "score": (str,),
    "class_axis": _NUMBER,
    "layout": (dict, type(None)),
    "gradients": (bool,),
    "precision": (str,),
    "channel_axis": _NUMBER,
    "threads": (int,),
}
_PARTS = ("photo", "map", "model", "loading", "preprocessing", "versions", "options", "question")


@dataclass(frozen=True)
class Verdict:
    """Whether a map is the recorded one.

    - ``same``: whether both have the same bytes.
    - ``largest_difference``: between their values, which are 0..1.
    - ``compared``: "map", all values (of the .npy file that was written with the record), or "samples", the 64 values
      that the record has.
    - ``changed``: what is no longer as it was when the map was recorded, each with both states.
    """

    same: bool
    largest_difference: float
    compared: Literal["map", "samples"]
    changed: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """One line for people."""
        if self.same:
            return "the same map, byte for byte"
        where = "in the map" if self.compared == "map" else "among the 64 recorded values"
        changes = f"; changed: {', '.join(self.changed)}" if self.changed else ""
        return f"another map: the largest difference {where} is {self.largest_difference:.3g}{changes}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        facts = {"same": self.same, "largest_difference": self.largest_difference, "compared": self.compared}
        return {**facts, "changed": list(self.changed)}


@dataclass(frozen=True)
class Recorded:
    """One record of a file, checked as far as it is used.

    - ``values``: as :meth:`Explanation.to_dict` returned them.
    - ``folder``: that of the file, in which files are looked for that have moved with it.
    """

    values: Mapping[str, Any]
    folder: Path

    def model(self, named: Path | None) -> Path:
        """Return the file of the recorded model: ``named``, or where the record says, or beside it.

        Raises:
            InputError: there is no such file, or it is another model; the message has both hashes.
        """
        facts = self.values["model"]
        path = self._find("model", named, "MODEL")
        _check_same("model", path, path, facts["sha256"])
        for name, digest in facts["files"].items():
            _check_same("file of weights", path.parent / name, path.parent / name, digest)
        return path

    def photo(self, named: Path | None) -> Path:
        """Return the file of the recorded photo: ``named``, or where the record says, or beside it.

        Raises:
            InputError: there is no such file, or it is another photo; the message has both hashes.
            ImageError: it cannot be read.
        """
        facts = self.values["photo"]
        path = self._find("photo", named, "IMAGE")
        if facts["sha256"] is not None:
            _check_same("photo", path, path, facts["sha256"])
        elif (found := pixels_sha256(load_image(path))) != facts["pixels_sha256"]:
            raise InputError(_another("photo", path, found, facts["pixels_sha256"]))
        return path

    def loading(self) -> dict[str, Any]:
        """Return arguments of the Explainer that made the map.

        Raises:
            PreprocessingError: the recorded preprocessing makes no sense.
        """
        stated = dict(self.values["loading"])
        stated["threads"] = min(stated["threads"], cores())
        return {**stated, "preprocessing": Preprocessing.from_dict(self.values["preprocessing"])}

    def method(self) -> Method:
        """Return the method, with its options.

        Raises:
            InputError: there is no such method, it has no such option, or the record has not the value of one.
        """
        name = self.values["method"]
        if name not in METHODS:
            raise InputError(f"the record's method {shown(name)} is unknown; there are {', '.join(METHODS)}.")
        usual = find_method(name, {})
        given = {}
        for option, value in self.values["options"].items():
            known = option in usual.__dataclass_fields__
            if not known or plain(getattr(usual, option)) != value:
                given[option] = known_value(f"the option {option!r}", value)
        return find_method(name, given)

    def target(self) -> Target:
        """Return what was asked.

        Raises:
            InputError, TargetError: it is no target, or the record has not all of it.
        """
        return read_question(self.values["question"])

    def verdict(self, made: Explanation) -> Verdict:
        """Return whether the map of an explanation is the recorded one."""
        facts, now = self.values["map"], map_facts(made.saliency_input)
        changed = tuple(self._changes(made.to_dict()))
        if facts["shape"] != now["shape"]:
            return Verdict(False, 1.0, "samples", (*changed, f"shape {facts['shape']} to {now['shape']}"))
        if facts["sha256"] == now["sha256"]:
            return Verdict(True, 0.0, "map", changed)
        before = self._saved_map(made.saliency.shape)
        if before is not None:
            return Verdict(False, float(np.abs(before - made.saliency).max()), "map", changed)
        then = np.asarray(facts["samples"]) - samples_of(made.saliency_input).ravel()
        return Verdict(False, float(np.abs(then).max()), "samples", changed)

    def _changes(self, now: Mapping[str, Any]) -> Iterable[str]:
        """What is stated of both, and differs."""
        then = self.values
        for name, before, after in (
            *((name, then["versions"].get(name), version) for name, version in now["versions"].items()),
            *((name, then.get(name), now[name]) for name in ("provider", "form")),
        ):
            if before != after:
                yield f"{name} {before if isinstance(before, str) else shown(before)} to {after}"
        if self.values["score"] != now["score"]:
            yield f"score {self.values['score']:.6g} to {now['score']:.6g}"

    def _saved_map(self, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        """Return the map [H,W] over the photo that was written with the record, where it still is."""
        for name in self.values["files"]:
            for path in (Path(name), self.folder / Path(name).name):
                if path.suffix.lower() != ".npy":
                    continue
                with suppress(OSError, ValueError, OnnxplainError):
                    check_file(path, InputError)
                    found = np.load(path, mmap_mode="r", allow_pickle=False)
                    if found.shape == shape and found.dtype == np.float32:
                        return np.array(found)
        return None

    def _find(self, what: str, named: Path | None, argument: str) -> Path:
        stated = self.values[what]["path"]
        places = [named] if named is not None else []
        if named is None and stated is not None:
            places = [Path(stated), self.folder / Path(stated).name]
        for path in places:
            with suppress(ValueError):  # a NUL in the name
                if path.is_file():
                    return path
        where = "it was in memory" if not places else f"{' and '.join(map(str, dict.fromkeys(places)))} do not exist"
        raise InputError(
            f"the {what} of the record is not found: {where}; name it, as --again RECORD MODEL IMAGE."
            if named is None
            else f"{named} does not exist; name the {what} of the record as {argument}."
        )


def read_records(path: str | os.PathLike[str]) -> list[Recorded]:
    """Return the records in a file: one, a document of ``onnxplain explain --json``, or a PNG file that carries one.

    Raises:
        InputError: the file cannot be read, is too large, holds no record, or one that cannot be used; the message says
            which key is wrong.
    """
    place = Path(path)
    check_file(place, InputError)
    document = _parsed(place, _text(place))
    listed = document.get("results") if isinstance(document, dict) and "schema" not in document else [document]
    if not isinstance(listed, list) or not listed or len(listed) > _MOST_RECORDS:
        raise InputError(
            f"{place} holds no record of an explanation; it has to come from --json, --format json or png."
        )
    return [Recorded(_checked(place, one), place.parent) for one in listed]


def _text(place: Path) -> str:
    """Return the text with the records of a file, or of a PNG file.

    Raises:
        InputError: as for :func:`read_records`.
    """
    try:
        with place.open("rb") as file:
            start = file.read(8)
            if start != b"\x89PNG\r\n\x1a\n":
                content = start + file.read(_MOST_BYTES)
                if len(content) > _MOST_BYTES:
                    raise InputError(f"{place} has more than {_MOST_BYTES} bytes; a record is far smaller.")
                return content.decode("utf-8-sig")
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # no pixels are read
                found = Image.open(file, formats=["PNG"]).info.get(METADATA_KEY)
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{place} is no text in UTF-8 and no PNG file; name a record.") from None
    except Exception as error:  # Pillow raises what it likes for a damaged file
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{place} cannot be read: {reason}.") from error
    if not isinstance(found, str):
        raise InputError(f"{place} carries no record; only pictures of onnxplain explain do, and screenshots do not.")
    return found


def _parsed(place: Path, text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number.")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is no JSON that can be read: {str(error)[:200].rstrip('.')}.") from None


def _checked(place: Path, record: Any) -> Mapping[str, Any]:
    """Return a record whose parts have the types that are relied on.

    Raises:
        InputError: one has not.
    """

    def need(holds: object, key: str, value: object, wanted: str) -> None:
        if not holds:
            raise InputError(f"{place}: {key} of the record is {wanted}; found {shown(value)}.")

    need(isinstance(record, dict), "all", record, "an object")
    schema = record.get("schema")
    if schema != SCHEMA:
        raise InputError(f"{place} follows the schema {shown(schema)}; this release reads {SCHEMA!r}.")
    for part in _PARTS:
        if record.get(part) is None:
            raise InputError(f"{place}: the record does not say {part!r}, so that its map cannot be made again.")
        need(isinstance(record[part], dict), part, record[part], "an object")
    for key, kinds in (("method", str), ("provider", str), ("files", list), ("score", (int, float))):
        need(isinstance(record.get(key), kinds), key, record.get(key), "missing or of another type")
    check_number(f"{place}: score of the record", record["score"])
    need(all(isinstance(name, str) for name in record["files"]), "files", record["files"], "a list of names")
    for part in ("model", "photo"):
        path, digest = record[part].get("path"), record[part].get("sha256")
        need(isinstance(path, _TEXT), f"{part}.path", path, "a path or null")
        need(digest is None or _is_hash(digest), f"{part}.sha256", digest, "64 hexadecimal digits or null")
    need(record["model"]["sha256"], "model.sha256", None, "needed to know the model")
    pixels, files = record["photo"].get("pixels_sha256"), record["model"].get("files")
    need(_is_hash(pixels), "photo.pixels_sha256", pixels, "64 hexadecimal digits")
    need(isinstance(files, dict), "model.files", files, "an object")
    for name, digest in files.items():
        need(
            ".." not in Path(name).parts and not Path(name).is_absolute(),
            "model.files",
            name,
            "a file beside the model",
        )
        need(_is_hash(digest), f"model.files[{name[:40]!r}]", digest, "64 hexadecimal digits")
    _check_map(record["map"], need)
    loading = record["loading"]
    for key, types in _LOADING.items():
        value = loading.get(key)
        fits = isinstance(value, types) and (bool in types or not isinstance(value, bool))
        need(key in loading and fits, f"loading.{key}", value, "missing or of another type")
    need(0 <= loading["threads"] < 1 << 20, "loading.threads", loading["threads"], "a number of threads")
    return {**record, "loading": {key: loading[key] for key in _LOADING}}


def _check_map(facts: Mapping[str, Any], need: Any) -> None:
    shape, samples = facts.get("shape"), facts.get("samples")
    need(_are_numbers(shape, (int,), 2), "map.shape", shape, "a height and a width")
    need(_is_hash(facts.get("sha256")), "map.sha256", facts.get("sha256"), "64 hexadecimal digits")
    need(_are_numbers(samples, (int, float), 64), "map.samples", samples, "64 numbers from 0 to 1")


def _are_numbers(value: Any, kinds: tuple[type, ...], count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(one, kinds) and not isinstance(one, bool) for one in value)
        and all(0 <= one < 1 << 31 for one in value)
    )


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _check_same(what: str, shown_as: Path, path: Path, digest: str) -> None:
    check_file(path, InputError)
    try:
        found = file_digest(path)
    except OSError as error:
        raise InputError(f"the {what} {shown_as} cannot be read: {error.strerror or error}.") from error
    if found != digest:
        raise InputError(_another(what, shown_as, found, digest))


def _another(what: str, path: Path, found: str, recorded: str) -> str:
    return (
        f"{path} is not the {what} of the record: its SHA-256 is {found}, the recorded one {recorded}; "
        f"name the {what} that the map was made of."
    )
