"""Names of a model's classes: where they are found, and how a user's word picks one."""

from __future__ import annotations

import csv
import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ..checks import read_literal, shown
from ..errors import InputError, PreprocessingError, TargetError
from .sidecars import read_json_object, sidecar_folders

LabelsLike: TypeAlias = Sequence[str] | Mapping[Any, Any] | str | os.PathLike[str]

#: Key of the model's metadata that holds a JSON list of class names.
METADATA_KEY = "onnxplain.labels"

_SHOWN = 8
_MOST_CLASSES = 1 << 20
_MOST_BYTES = 16 << 20
_NAME_COLUMNS = ("label", "name", "class_name", "classname", "display_name")
_INDEX_COLUMNS = ("index", "idx", "id", "class_id", "class")


def resolve_labels(
    explicit: LabelsLike | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
    model_path: str | os.PathLike[str] | None = None,
    classes: int | None = None,
) -> list[str] | None:
    """Return the class names in class order, or None where none are stated.

    Asked in this order: ``explicit`` (a list, a dict index -> name or name -> index, or a .txt, .json or .csv
    file); ``metadata`` of the model (``onnxplain.labels``, ultralytics' ``names``); files beside
    ``model_path`` (``<model>.labels.txt|json|csv``, ``id2label`` or timm's ``label_names`` in ``config.json``).

    Raises:
        InputError: they cannot be read, or their number is not ``classes``.
    """
    found = _find(explicit, metadata or {}, None if model_path is None else Path(model_path))
    if found is None:
        return None
    labels, source = found
    if classes is not None and len(labels) != classes:
        raise InputError(f"{source}: {len(labels)} labels, but the model has {classes} classes; give one for each.")
    return labels


def find_label(labels: Sequence[str], text: str) -> int:
    """Return the class that ``text`` names, ignoring case and surrounding blanks.

    In this order: a whole label ("tabby, tabby cat"); one of its comma-separated synonyms ("tabby cat"); a part
    of exactly one label.

    Raises:
        TargetError: several classes match, which the message lists, or none does; it lists the closest then.
    """
    wanted = text.strip().casefold()
    if not wanted:
        raise TargetError("the target label is empty; give a class name or an index.")
    folded = [label.strip().casefold() for label in labels]
    synonyms = [{part.strip() for part in label.split(",")} for label in folded]
    for matches in (
        [i for i, label in enumerate(folded) if label == wanted],
        [i for i, parts in enumerate(synonyms) if wanted in parts],
        [i for i, label in enumerate(folded) if wanted in label],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            whole_word = re.compile(rf"\b{re.escape(wanted)}\b")
            matches.sort(key=lambda i: whole_word.search(folded[i]) is None)
            listed = _listed(labels, matches[:_SHOWN])
            more = f" and {len(matches) - _SHOWN} more" if len(matches) > _SHOWN else ""
            raise TargetError(f"{text!r} fits {len(matches)} classes: {listed}{more}; give the index of one.")
    spelled: dict[str, int] = {}
    for index, parts in enumerate(synonyms):
        for part in sorted(parts):
            spelled.setdefault(part, index)
    close = [spelled[word] for word in difflib.get_close_matches(wanted, spelled, n=3, cutoff=0.5)]
    hint = f"; close are {_listed(labels, list(dict.fromkeys(close)))}" if close else ""
    raise TargetError(f"no class is called {shown(text)} among {len(labels)} labels{hint}; give a label or an index.")


def _listed(labels: Sequence[str], indices: Sequence[int]) -> str:
    return ", ".join(f"{index} ({labels[index].split(',')[0]})" for index in indices)


def _find(
    explicit: LabelsLike | None, metadata: Mapping[str, str], model_path: Path | None
) -> tuple[list[str], str] | None:
    if isinstance(explicit, (str, os.PathLike)):
        return _read_file(Path(explicit)), str(explicit)
    if explicit is not None:
        return _from_object(explicit, "the given labels"), "the given labels"
    if METADATA_KEY in metadata:
        source = f"the model's metadata {METADATA_KEY}"
        return _from_object(_json(metadata[METADATA_KEY], source), source), source
    if "names" in metadata:
        source = "the model's metadata names"
        return _from_object(_literal(metadata["names"], source), source), source
    return None if model_path is None else _beside(model_path)


def _beside(model_path: Path) -> tuple[list[str], str] | None:
    for suffix in (".txt", ".json", ".csv"):
        path = model_path.with_name(f"{model_path.stem}.labels{suffix}")
        if path.is_file():
            return _read_file(path), path.name
    for folder in sidecar_folders(model_path):
        path = folder / "config.json"
        if not path.is_file():
            continue
        config = _settings(path)
        names = _filled(config.get("id2label")) or _timm_labels(config)
        if names:
            return _from_object(names, str(path)), path.name
    return None


def _filled(names: Any) -> Any:
    """Hugging Face's ``id2label`` without its gaps: a class that it leaves out is called by its number."""
    if not isinstance(names, Mapping) or not all(isinstance(key, str) and key.isdecimal() for key in names):
        return names
    last = max(map(int, names), default=-1)
    return (
        names if last >= _MOST_CLASSES else {str(index): names.get(str(index), str(index)) for index in range(last + 1)}
    )


def _timm_labels(config: Mapping[str, Any]) -> Any:
    """timm: ``label_names`` are keys (WordNet ids, say) into ``label_descriptions`` where both are present."""
    names, descriptions = config.get("label_names"), config.get("label_descriptions")
    if isinstance(names, list) and isinstance(descriptions, Mapping):
        return [descriptions.get(name, name) if isinstance(name, str) else name for name in names]
    return names


def _read_file(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of labels.")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _from_object(_json(_text(path), str(path)), str(path))
    if suffix == ".csv":
        return _from_csv(path)
    if suffix == ".txt":
        return _from_lines(_text(path), str(path))
    raise InputError(f"{path}: labels are read from .txt (one a line), .json or .csv, not from {suffix or 'this'}.")


def _settings(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except PreprocessingError as error:
        raise InputError(str(error)) from error


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"{path} has {size} bytes, too many for labels; the limit is {_MOST_BYTES}.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}.") from error


def _json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is not valid JSON: {error}.") from error


def _literal(text: str, source: str) -> Any:
    try:
        return read_literal(text)
    except ValueError as error:
        raise InputError(f"{source} is neither a list nor a dict, found {text[:60]!r}: {error}") from error


def _from_lines(text: str, source: str) -> list[str]:
    """Return one label a line; where every line starts with its own index, that is cut off."""
    lines = text.strip().splitlines()
    numbered = [re.match(r"\s*(\d+)\s*[\s:;,.]\s*(\S.*)", line) for line in lines]
    if all(match is not None and match[1].lstrip("0") == str(index or "") for index, match in enumerate(numbered)):
        lines = [match[2] for match in numbered if match is not None]
    return _checked([line.strip() for line in lines], source)


def _from_csv(path: Path) -> list[str]:
    try:
        rows = [row for row in csv.reader(_text(path).splitlines()) if row]
    except csv.Error as error:
        raise InputError(f"{path} is no table: {error}.") from error
    if not rows:
        raise InputError(f"{path} holds no labels.")
    header = [cell.strip().lower() for cell in rows[0]]
    name = next((header.index(column) for column in _NAME_COLUMNS if column in header), None)
    index = next((header.index(column) for column in _INDEX_COLUMNS if column in header), None)
    if name is not None:
        rows = rows[1:]
    elif len(header) <= 2:
        name, index = len(header) - 1, 0 if len(header) == 2 else None
    else:
        raise InputError(f"{path} has columns {header}; name one of them label, and optionally one index.")
    if any(len(row) <= max(name, index or 0) for row in rows):
        raise InputError(f"{path} has rows of different lengths; every row needs a label.")
    if index is None:
        return _checked([row[name].strip() for row in rows], str(path))
    return _from_object({row[index].strip(): row[name].strip() for row in rows}, str(path), rows=len(rows))


def _from_object(value: Any, source: str, *, rows: int | None = None) -> list[str]:
    """Return a list of names, index -> name, index -> [id, name] (Keras), name -> index, or an id2label around one."""
    if isinstance(value, Mapping) and isinstance(value.get("id2label"), Mapping):
        value = value["id2label"]
    if isinstance(value, Mapping):
        if value and all(isinstance(v, int) and not isinstance(v, bool) for v in value.values()):
            value = {index: name for name, index in value.items()}
        try:
            by_index = {int(key): name for key, name in value.items()}
        except (TypeError, ValueError, OverflowError):
            raise InputError(
                f"{source}: the keys of labels are class indices, found {shown(list(value)[:3])}."
            ) from None
        if sorted(by_index) != list(range(rows or len(value))):
            raise InputError(f"{source}: label indices must run from 0 to {(rows or len(value)) - 1} without gaps.")
        value = [by_index[index] for index in range(len(by_index))]
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise InputError(f"{source}: labels are a list or a dict, found {type(value).__name__}.")
    return _checked([item[-1] if isinstance(item, list) and item else item for item in value], source)


def _checked(labels: list[Any], source: str) -> list[str]:
    if not labels:
        raise InputError(f"{source} holds no labels.")
    wrong = next((i for i, label in enumerate(labels) if not isinstance(label, str)), None)
    if wrong is not None:
        raise InputError(f"{source}: label {wrong} is a {type(labels[wrong]).__name__}, not text.")
    return labels
