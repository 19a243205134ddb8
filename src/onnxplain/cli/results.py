"""What ``onnxplain explain`` writes: files for each explanation, one grid of all, one report of all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from .common import refuse_overwriting

if TYPE_CHECKING:
    from ..pictures import PictureOptions
    from ..results.explanation import Explanation

#: The picture that is one for all photos; the others are those of :data:`onnxplain.results.explanation.PICTURES`.
GRID = "grid"


#: Options of a bright overlay: the photo keeps its light and most of its colour.
_BRIGHT: PictureOptions = {"brightness": 1.0, "saturation": 0.8, "alpha": 0.85}


class Sink(Protocol):
    """Where explanations go, one after the other."""

    def prepare(self) -> None:
        """Make the folder, before anything is computed.

        Raises:
            OutputError: it cannot be made or written to.
        """

    def add(self, explanation: Explanation, rank: int | None) -> list[Path]:
        """Take in one explanation; ``rank`` (1, 2, ...) tells several of one photo and method apart.

        Returns the files that were written for it alone.
        """

    def finish(self) -> list[Path]:
        """Write what is one file for all; returns the files."""


def drawing_options(
    colormap: str | None, alpha: float | None, percentiles: str | None, signed: bool, bright: bool = False
) -> PictureOptions:
    """Return the options that were given, by their names in :meth:`Explanation.picture`.

    Raises:
        InputError: an unknown colour map.
    """
    from ..pictures.colormaps import shown_colormap

    found: PictureOptions = {"signed": True} if signed else {}
    if bright:
        found |= _BRIGHT
    if colormap is not None:
        shown_colormap(colormap, signed)
        found["colormap"] = colormap
    if alpha is not None:
        found["alpha"] = alpha
    if percentiles is not None:
        try:
            low, high = (float(part) for part in percentiles.split(","))
        except ValueError:
            raise click.BadParameter(f"--percentiles takes LOW,HIGH, as 50,99.5; found {percentiles!r}.") from None
        found["percentiles"] = (low, high)
    return found


def sinks(
    out: Path | None,
    formats: list[str],
    picture: str | None,
    drawing: PictureOptions,
    report: Path | None,
    inputs: list[Path],
    *,
    photos: int,
    methods: int,
) -> list[Sink]:
    """Where the explanations of ``photos`` by ``methods`` go. A report alone comes without further files.

    Raises:
        InputError: a kind of picture that does not exist, or an option that it does not have.
        OutputError: an output is an input, or has a suffix that cannot be written.
    """
    found: list[Sink] = []
    if picture == GRID:
        if formats not in ([], ["png"]):
            raise click.BadParameter("a grid is one picture; name its file with -o, without --format.")
        found.append(GridFile(out, drawing, inputs))
    elif report is None or out is not None or formats or picture is not None:
        files = Files(out, formats, picture or "overlay", drawing, inputs, several_methods=methods > 1)
        if photos > 1 and files.single is not None:
            raise click.BadParameter(f"-o names the file {out}, but there are {photos} photos; name a folder.")
        found.append(files)
    if report is not None:
        found.append(ReportFile(report, picture, drawing, inputs))
    return found


class Files:
    """The file ``out``, or the folder ``out`` with names made of the photos'."""

    def __init__(
        self,
        out: Path | None,
        formats: list[str],
        kind: str,
        drawing: PictureOptions,
        inputs: list[Path],
        *,
        several_methods: bool,
    ) -> None:
        from ..results.explanation import check_picture, is_result_file

        check_picture([kind], drawing)
        self.single = out if out is not None and is_result_file(out) else None
        self._folder = _folder_of(out, self.single)
        self._formats, self._kind, self._drawing, self._inputs = formats, kind, drawing, inputs
        self._several_methods = several_methods
        self._taken: set[str] = set()

    def prepare(self) -> None:
        from ..files import make_folder

        make_folder(self._folder)

    def add(self, explanation: Explanation, rank: int | None) -> list[Path]:
        number = "" if rank is None else f"_{rank}"
        if self.single is not None:
            method = f"_{explanation.method}" if self._several_methods else ""
            path = self.single.with_stem(f"{self.single.stem}{method}{number}")
        else:
            path = self._folder / f"{self._fresh(explanation.stem, explanation.method, number)}.png"
        formats = self._formats or None if self.single is not None else self._formats or ["png"]
        for written in explanation.paths(path, formats):
            refuse_overwriting(written, self._inputs)
        return explanation.save(path, formats, kind=self._kind, **self._drawing)

    def finish(self) -> list[Path]:
        return []

    def _fresh(self, stem: str, method: str, number: str) -> str:
        """``<photo>_<method>``, with the rank, and with a number where two photos have one name."""
        name, count = f"{stem}_{method}{number}", 2
        while name in self._taken:
            name, count = f"{stem}_{count}_{method}{number}", count + 1
        self._taken.add(name)
        return name


class GridFile:
    """One picture of all photos: the file ``out``, or ``grid.png`` in the folder ``out``."""

    def __init__(self, out: Path | None, drawing: PictureOptions, inputs: list[Path]) -> None:
        from ..pictures.render import picture_format
        from ..results.explanation import is_result_file
        from ..results.grid import Grid

        single = out if out is not None and is_result_file(out) else None
        self._path = single or _folder_of(out, None) / "grid.png"
        picture_format(self._path)
        refuse_overwriting(self._path, inputs)
        self._grid = Grid(**drawing)

    def prepare(self) -> None:
        from ..files import make_folder

        make_folder(self._path.parent)

    def add(self, explanation: Explanation, rank: int | None) -> list[Path]:
        self._grid.add(explanation)
        return []

    def finish(self) -> list[Path]:
        from ..pictures import save_image

        return [save_image(self._path, self._grid.picture())]


class ReportFile:
    """One HTML file about all photos."""

    def __init__(self, path: Path, picture: str | None, drawing: PictureOptions, inputs: list[Path]) -> None:
        from ..results.report import Report

        refuse_overwriting(path, inputs)
        alone = picture is None or picture in (GRID, "panel")
        self._path = path
        self._report = Report(**drawing) if alone else Report(kinds=[str(picture)], **drawing)

    def prepare(self) -> None:
        from ..files import make_folder

        make_folder(self._path.parent)

    def add(self, explanation: Explanation, rank: int | None) -> list[Path]:
        self._report.add(explanation)
        return []

    def finish(self) -> list[Path]:
        return [self._report.write(self._path)]


def _folder_of(out: Path | None, single: Path | None) -> Path:
    if out is None:
        return Path()
    return out if single is None else out.parent
