"""The command line: ``onnxplain explain | detect | differentiate | check | visualize-class | ...``.

Exit codes: 0 everything was done; 1 something was refused or failed, with one line per reason on stderr;
2 the command line is wrong; 3 bulk is done, and some photos failed; 130 interrupted. Files appear whole or not at all.
The packages that do the work are imported when a command runs, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from .. import __version__
from .bulk import bulk
from .cache import cache
from .check import check
from .common import INTERRUPTED, report, set_debug
from .detect import detect
from .differentiate import differentiate
from .evaluate import evaluate
from .explain import explain
from .export_torch import export_torch
from .helping import HelpfulCommand, HelpfulGroup, examples
from .package import package
from .page import page
from .serve import serve
from .visualize_class import visualize_class

app = typer.Typer(
    name="onnxplain",
    no_args_is_help=True,
    cls=HelpfulGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong command line, 130 interrupted.",
)
_COMMANDS = {
    "explain": explain,
    "detect": detect,
    "differentiate": differentiate,
    "check": check,
    "visualize-class": visualize_class,
    "evaluate": evaluate,
    "export-torch": export_torch,
    "bulk": bulk,
    "package": package,
    "page": page,
    "serve": serve,
    "cache": cache,
}
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=HelpfulCommand, epilog=examples(_name))(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"onnxplain {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", callback=set_debug, help="Before an error, print what led to it and to its causes."),
    ] = False,
) -> None:
    """Saliency maps for any ONNX model: what in a photo made the model choose a class."""


def main() -> None:
    """Run the command line of this process; :mod:`..__main__` is what a console starts."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an encoding may lack characters of names
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except KeyboardInterrupt:
        report("interrupted")
        sys.exit(INTERRUPTED)
    except SystemExit as error:
        if error.code == INTERRUPTED:
            report("interrupted")
        raise
