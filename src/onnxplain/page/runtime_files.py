"""ONNX Runtime's files for browsers, as the npm package ``onnxruntime-web`` brings them.

They are 41 MB, of which a browser loads one half. A build that has npm puts them into the package; where it had none,
``npm pack`` fetches them once, and from then on they are in the folder beside the cache of models. Nothing here uses a
network.
"""

from __future__ import annotations

import json
import sys
import tarfile
from importlib.resources import files
from pathlib import Path

from ..errors import InputError, OutputError, RuntimeMissingError
from ..files import make_folder, unfinished_folder
from ..runtime import open_cache

#: The build reads the same file.
_RELEASE = json.loads(files(__package__).joinpath("runtime_files.json").read_text(encoding="utf-8"))
#: The release that the page is tested with.
VERSION: str = _RELEASE["version"]
#: What a browser loads without WebGPU, and with it.
FILES: tuple[str, ...] = tuple(_RELEASE["files"])

_HOW = (
    f"run npm pack onnxruntime-web@{VERSION}, and once "
    f"onnxplain page --runtime-files onnxruntime-web-{VERSION}.tgz (docs/page.md)"
)


def find_runtime(stated: Path | None = None) -> Path:
    """Return a folder with the files: the stated one, the package's own, the kept one, or that of npm in this folder.

    Args:
        stated: the folder ``dist`` of the npm package, or the archive that ``npm pack`` made of it, which is kept.

    Raises:
        InputError: there is nothing of the kind where it is stated to be.
        RuntimeMissingError: nothing is stated, and there are no files; the message says how to get them.
        OutputError: the archive's files cannot be kept.
    """
    if stated is not None:
        return keep_runtime(stated) if stated.is_file() else _checked(stated)
    for folder in (*_built(), _kept(), Path("node_modules", "onnxruntime-web", "dist")):
        if folder is not None and not _missing(folder):
            return folder
    raise RuntimeMissingError(f"the page needs ONNX Runtime's files for browsers; {_HOW}.")


def keep_runtime(archive: Path) -> Path:
    """Take the files out of the archive that ``npm pack`` made, keep them, and return their folder.

    Raises:
        InputError: it is no such archive.
        OutputError: they cannot be kept.
    """
    place = _kept()
    if place is None:
        raise OutputError("there is no cache to keep the files in (ONNXPLAIN_CACHE is off); name a folder with them.")
    contents = _contents(archive)
    try:
        with unfinished_folder(make_folder(place.parent)) as part:
            made = part / "files"
            made.mkdir()
            for name, content in contents.items():
                (made / name).write_bytes(content)
            if place.exists():
                place.rename(part / "before")
            made.rename(place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from error
    return place


def _contents(archive: Path) -> dict[str, bytes]:
    """The files in the archive.

    Raises:
        InputError: it is no archive, or lacks one.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                if folder == "package/dist" and name in FILES and (file := tar.extractfile(member)) is not None:
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{archive} is no archive of the npm package onnxruntime-web: {error}.") from error
    lacks = [name for name in FILES if name not in found]
    if lacks:
        raise InputError(f"{archive} lacks {lacks[0]}; {_HOW}.")
    return found


def _checked(folder: Path) -> Path:
    """A folder with the files, or with the npm package around them.

    Raises:
        InputError: there are none.
    """
    for place in (folder, folder / "dist"):
        if not _missing(place):
            return place
    raise InputError(f"{folder} lacks {_missing(folder)[0]}; {_HOW}.")


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


def _built() -> list[Path]:
    """Where a build puts the files; an editable installation has a folder beside that of the sources."""
    return [Path(place, "runtime") for place in sys.modules[__package__].__path__]


def _kept() -> Path | None:
    """Where the files are kept; None where there is no cache."""
    cache = open_cache()
    return None if cache is None else cache.folder / "onnxruntime-web"
