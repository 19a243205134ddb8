"""``onnxplain explain --expected``: what was predicted, and what ought to have been."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..checks import check_file
from ..errors import InputError
from .common import (
    FAILED,
    Failures,
    ModelOptions,
    files_read,
    print_json,
    refuse_overwriting,
    say,
    short_path,
    split_model,
    target_of,
)

if TYPE_CHECKING:
    from ..methods import Method
    from ..pictures import PictureOptions
    from ..results.comparison import Comparison
    from ..results.report import Report

#: The classes are the names of the folders that the photos lie in.
FOLDERS = "folders"


def compare(
    paths: Sequence[Path],
    expected: str,
    method: Method,
    out: Path | None,
    page: Path | None,
    drawing: PictureOptions,
    loading: ModelOptions,
    precision: str,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw one photo's comparison, or write the report of all mistakes among several photos.

    Raises:
        InputError: a photo without an expected class.
        OutputError: a file that is read would be overwritten, or one cannot be written.
    """
    from ..bundled import bundled_photo
    from ..explainer.comparing import compared
    from ..progress import track
    from ..results.report import Report

    model, photos = split_model(_class_folders(paths, expected))
    photos = photos or [bundled_photo()]
    classes = _classes(expected, photos)
    single, told = len(photos) == 1 and page is None, not as_json and not quiet
    place = _place(photos, out, page, method.name, single)
    refuse_overwriting(place, files_read(model, photos))
    explainer = loading.explainer(model, precision=precision, gradients=method.gradients)
    failures, results, mistakes = Failures(), [], 0
    made = Report(title="What the model mistook", **drawing)
    explain = partial(explainer.explain, method=method, progress=False)
    found: Comparison
    for found in compared(explain, track(photos, len(photos), show=not quiet), classes, failures):
        results.append(found.to_dict())
        mistakes += found.is_mistake
        if single:
            found.save(place, **drawing)
        elif found.is_mistake:
            _add(made, found)
        if told and (single or found.is_mistake):
            say(f"{short_path(found.predicted.source)}: {found.title}{_arrow(place, single)}")
    if mistakes and not single:
        made.write(place)
    written = [place] if mistakes or (single and results) else []
    if as_json:
        _print(model, results, written, failures)
    elif told and not single:
        say(f"{mistakes} of {len(results)} photos mistaken{_arrow(place, bool(written))}")
    if failures.listed:
        raise click.exceptions.Exit(FAILED)


def _add(made: Report, found: Comparison) -> None:
    for explanation in found:
        made.add(explanation)


def _arrow(place: Path, written: bool) -> str:
    return f" -> {place}" if written else ""


def _print(model: Path | None, results: list[dict[str, Any]], files: list[Path], failures: Failures) -> None:
    shown = [str(path) for path in files]
    print_json(
        {"model": None if model is None else str(model), "results": results, "files": shown, "errors": failures.listed}
    )


def _place(photos: Sequence[Path], out: Path | None, page: Path | None, method: str, single: bool) -> Path:
    """The file to write: the panel of a single photo, or the report."""
    if page is not None:
        return page
    name = f"{photos[0].stem}_{method}_expected.png" if single else "mistakes.html"
    if out is None:
        return Path(name)
    return out if out.suffix and not out.is_dir() else out / name


def _class_folders(paths: Sequence[Path], expected: str) -> Sequence[Path]:
    """With ``FOLDERS`` the folders in each folder, for ``split_model``; anything else as it is."""
    if expected != FOLDERS:
        return paths
    found: list[Path] = []
    for path in paths:
        inner = sorted(one for one in path.iterdir() if one.is_dir() and one.name[0] != ".") if path.is_dir() else []
        found += inner or [path]
    return found


def _classes(expected: str, photos: Sequence[Path]) -> list[int | str]:
    """The class that is expected of each photo.

    Raises:
        InputError: the file cannot be read, or lacks a photo.
    """
    if expected == FOLDERS:
        return [target_of(photo.resolve().parent.name.replace("_", " ")) for photo in photos]
    if not expected.lower().endswith(".csv"):
        return [target_of(expected)] * len(photos)
    place = Path(expected)
    check_file(place, InputError)
    try:
        rows = list(csv.reader(place.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--expected: {place} cannot be read: {error}.") from None
    listed = {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
    found = [listed.get(str(photo), listed.get(photo.name, listed.get(photo.stem))) for photo in photos]
    for photo, one in zip(photos, found):
        if not one:
            raise InputError(f"--expected: {place} has no class for {photo.name}; give each photo a line, PHOTO,CLASS.")
    return [target_of(one) for one in found if one]
