"""``onnxplain page``: write a page that explains photos in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ..errors import InputError
from .common import Json, LabelsFile, LayoutText, PreprocessingName, Quiet, guarded, layout_of, print_json, say
from .signatures import Argument, Option


@guarded
def page(
    models: Annotated[
        list[Path] | None,
        Argument(metavar="[MODEL]...", help="ONNX models. Default: the bundled classifier."),
    ] = None,
    out: Annotated[Path | None, Option("-o", "--output", help="The folder to write, a new one.", metavar="DIR")] = None,
    runtime_files: Annotated[
        Path | None,
        Option(
            "--runtime-files",
            help="ONNX Runtime's files for browsers: the npm package onnxruntime-web, or the archive that npm pack "
            "makes of it, which is kept for the next time and for onnxplain serve. Default: the package's own.",
        ),
    ] = None,
    preprocessing: PreprocessingName = None,
    labels: LabelsFile = None,
    layout: LayoutText = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a page for any server of static files that explains photos in the browser, where they stay.

    ONNX Runtime's files for browsers are in the package, if it was built with npm at hand. If not, they come from npm
    once: npm pack onnxruntime-web, then --runtime-files with the archive; docs/page.md has the lines.
    """
    from ..bundled import bundled_model
    from ..page import find_runtime, write_page

    if out is None and runtime_files is None:
        raise InputError("name the folder to write with -o DIR.")
    if out is None:
        files = [find_runtime(runtime_files)]
    else:
        named: dict[str, Path] = {}
        for path in models or [bundled_model()]:
            if path.stem in named:
                raise InputError(f"two models are called {path.stem!r}; give one of the files another name.")
            named[path.stem] = path
        files = write_page(
            named,
            out,
            runtime=runtime_files,
            preprocessing=preprocessing,
            labels=labels,
            layout=None if layout is None else layout_of(layout),
        )
    if as_json:
        print_json({"files": [str(file) for file in files]})
    elif not quiet:
        say(str(files[0] if out is None else out))
