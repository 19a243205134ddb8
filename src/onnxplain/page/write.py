"""Write the page: its own files, ONNX Runtime's, the models, and what the scripts have to know."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

from .._version import __version__
from ..autodiff.graph.io import ModelSource
from ..bundled import bundled_photo
from ..errors import InputError, OnnxplainError, OutputError
from ..files import make_folder, unfinished_folder
from ..layout import LayoutLike
from ..methods.smoothgrad import SmoothGrad, noise_key
from ..photos import PreprocessingLike
from ..photos.labels import LabelsLike
from ..pictures.colormaps import COLORMAPS, colormap
from .page_model import page_model
from .runtime_files import FILES, VERSION, find_runtime

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
#: Noisy copies for which the page has keys.
_COPIES = 200
#: What the page and its worker may do: run their own scripts and WebAssembly, and ask their own server alone. The page
#: says so itself; a server that says it, too, binds the worker.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)


def write_page(
    models: Mapping[str, ModelSource],
    folder: str | os.PathLike[str],
    *,
    runtime: Path | None = None,
    preprocessing: PreprocessingLike | None = None,
    labels: LabelsLike | None = None,
    layout: LayoutLike | None = None,
    skip: Callable[[str, OnnxplainError], None] | None = None,
) -> list[Path]:
    """Write a page that explains photos with ``models``, for any server of static files.

    Args:
        models: what :func:`~onnxplain.differentiate` takes, with one input of images, by the names that the page shows.
        folder: a new folder, or one that is empty.
        runtime: ONNX Runtime's files for browsers, as :func:`find_runtime` takes them.
        preprocessing, labels, layout: as for an :class:`~onnxplain.Explainer`, of all models; None takes what each
            model or a file beside it states.
        skip: is told of a model that cannot be shown, and why; the page is then without it. None refuses such models,
            and nothing is written where none is left.

    Returns:
        The files written. ``folder`` appears whole or not at all.

    Raises:
        InputError: a name is no name of a file; or as :func:`page_model` and :func:`find_runtime` do.
        ModelError, UnsupportedOperatorError, PreprocessingError: as for :func:`page_model`.
        RuntimeMissingError: ONNX Runtime's files are missing.
        OutputError: ``folder`` cannot be written, or has something in it.
    """
    for name in models:
        if not _NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a model; take letters, digits, '_', '-' and '.'.")
    place, source = Path(folder), find_runtime(runtime)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise OutputError(f"{place} exists; remove it, or name another folder.")
    above = make_folder(place.absolute().parent)
    try:
        with unfinished_folder(above) as part:
            made = part / "page"
            _assets(made)
            _runtime(source, made / "runtime")
            (made / "models").mkdir()
            shown: list[str] = []
            for name, model in models.items():
                try:
                    proto = page_model(model, preprocessing=preprocessing, labels=labels, layout=layout)
                except OnnxplainError as error:
                    if skip is None or (not shown and name == list(models)[-1]):
                        raise
                    skip(name, error)
                else:
                    (made / "models" / f"{name}.onnx").write_bytes(proto.SerializeToString())
                    shown.append(name)
            shutil.copyfile(bundled_photo(), made / "example.jpg")
            (made / "page.json").write_text(json.dumps(_facts(made, shown)), encoding="utf-8")
            os.replace(made, place)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from error
    return [path for path in sorted(place.rglob("*")) if path.is_file()]


def _assets(folder: Path) -> None:
    folder.mkdir()
    for asset in files(__package__).joinpath("assets").iterdir():
        (folder / asset.name).write_bytes(asset.read_bytes())


def _runtime(source: Path, folder: Path) -> None:
    folder.mkdir()
    for name in FILES:
        shutil.copyfile(source / name, folder / name)
    licence = files(__package__).joinpath("runtime_license.txt").read_bytes()
    (folder / "LICENSE.txt").write_bytes(licence)


def _facts(folder: Path, models: list[str]) -> dict[str, object]:
    """What the scripts have to know."""
    defaults = SmoothGrad()
    keys = [noise_key(defaults.seed, number, 0) for number in range(_COPIES)]
    return {
        "version": __version__,
        "runtime": VERSION,
        "models": [{"name": n, "bytes": (folder / "models" / f"{n}.onnx").stat().st_size} for n in models],
        "colours": {name: colormap(name).tobytes().hex() for name in COLORMAPS},
        "smoothgrad": {
            "samples": defaults.samples,
            "noise": defaults.noise,
            "keys": [[key % 2**32, key >> 32] for key in keys],
        },
    }
