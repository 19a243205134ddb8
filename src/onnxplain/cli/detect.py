"""``onnxplain detect``: what a detector finds in photos, as a table and as pictures with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from ..errors import ImageError, PreprocessingError
from .common import (
    FAILED,
    Failures,
    Json,
    ModelOptions,
    Quiet,
    guarded,
    print_json,
    refuse_overwriting,
    say,
    short_path,
    split_model,
)
from .signatures import Argument, Option
from .tables import table

if TYPE_CHECKING:
    from ..results.detection import Detection


@guarded
def detect(
    paths: Annotated[
        list[Path],
        Argument(
            metavar="MODEL [IMAGE|FOLDER]...",
            help="A detector as an ONNX model, and photos. Without photos the bundled one.",
        ),
    ],
    out: Annotated[
        Path | None,
        Option("-o", "--output", help="Draw the boxes: a file for one photo, or a folder for several.", metavar="OUT"),
    ] = None,
    threshold: Annotated[float, Option("--threshold", help="The least score of a detection, 0..1.")] = 0.25,
    overlap: Annotated[
        float, Option("--overlap", help="Detections of a class that overlap by more are one, 0..1.")
    ] = 0.45,
    limit: Annotated[int, Option("--limit", help="The greatest number of detections in a photo.")] = 100,
    *,
    loading: ModelOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List what a detector finds in photos: label, score and box (x0, y0, x1, y1) in pixels of the photo."""
    from ..bundled import bundled_photo
    from ..photos import load_image

    model, photos = split_model(paths)
    if model is None:
        raise click.BadParameter("the first argument is the detector: onnxplain detect MODEL [IMAGE|FOLDER]...")
    photos = photos or [bundled_photo()]
    targets = _pictures(out, photos, [*photos, model])
    explainer = loading.explainer(model, gradients=False)
    _ = explainer.preprocessing  # an error here is that of all photos
    failures = Failures()
    results: list[dict[str, Any]] = []
    for photo, target in zip(photos, targets):
        try:
            found = explainer.detect(photo, threshold=threshold, overlap=overlap, limit=limit)
            files = [] if target is None else [_draw(load_image(photo), found, target)]
        except (ImageError, PreprocessingError) as error:
            failures(str(photo), error)
            continue
        if as_json:
            shown = {"source": str(photo), "detections": [one.to_dict() for one in found]}
            results.append({**shown, "files": [str(path) for path in files]})
        elif not quiet:
            _print(photo, found, files)
    if as_json:
        facts = {"model": str(model), "provider": explainer.provider}
        print_json({**facts, "results": results, "errors": failures.listed})
    if failures.listed:
        raise click.exceptions.Exit(FAILED)


def _pictures(out: Path | None, photos: Sequence[Path], inputs: list[Path]) -> Sequence[Path | None]:
    """Return where the picture of each photo is written; None without ``out``.

    Raises:
        OutputError: it is an input, has a suffix that no picture has, or cannot be made.
    """
    from ..files import make_folder
    from ..pictures.render import picture_format

    if out is None:
        return [None] * len(photos)
    if out.suffix and not out.is_dir():
        picture_format(out)
        if len(photos) > 1:
            raise click.BadParameter(f"-o names the file {out}, but there are {len(photos)} photos; name a folder.")
        paths = [out]
    else:
        paths = []
        for photo in photos:
            path, count = out / f"{photo.stem}_detections.png", 2
            while path in paths:
                path, count = out / f"{photo.stem}_{count}_detections.png", count + 1
            paths.append(path)
    for path in paths:
        refuse_overwriting(path, inputs)
    make_folder(paths[0].parent)
    return paths


def _draw(photo: Any, found: Sequence[Detection], path: Path) -> Path:
    from ..pictures import boxes_image, save_image

    return save_image(path, boxes_image(photo, [one.box for one in found], [one.title for one in found]))


def _print(photo: Path, found: Sequence[Detection], files: Sequence[Path]) -> None:
    where = f" -> {', '.join(map(str, files))}" if files else ""
    say(f"{short_path(photo)}: {len(found) or 'no'} detection{'' if len(found) == 1 else 's'}{where}")
    if not found:
        return
    rows = []
    for one in found:
        box = (f"{value:.1f}" for value in (one.box.x0, one.box.y0, one.box.x1, one.box.y1))
        rows.append([one.name, f"{one.score:.1%}", *box, str(one.index)])
    say(*table(("label", "score", "x0", "y0", "x1", "y1", "index"), rows))
