"""The command line: ``onnxplain explain | detect | differentiate | check | visualize-class | ...``.

Exit codes: 0 everything was done; 1 something was refused or failed, with one line per reason on stderr;
2 the command line is wrong; 3 bulk is done, and some photos failed; 130 interrupted. Files appear whole or not at all.
A command is imported when it is asked for, and the packages that do its work when it runs, so that ``--help`` and
``--version`` answer at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import click
from click.shell_completion import get_completion_class

from .. import __version__
from .common import INTERRUPTED, report, set_debug
from .helping import EXAMPLES, SETTINGS
from .signatures import Option, command, parameters_of

_NAME = "onnxplain"
#: The variable by which a shell asks for completions.
_COMPLETION = "_ONNXPLAIN_COMPLETE"


@contextmanager
def _interruptions() -> Iterator[None]:
    """End with the exit code of an interruption; click would print an empty line at first."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


class Commands(click.Group):
    """The commands, each of which is imported when it is asked for: most runs need one."""

    def make_context(self, *arguments: Any, **stated: Any) -> click.Context:
        with _interruptions():
            return super().make_context(*arguments, **stated)

    def invoke(self, ctx: click.Context) -> object:
        with _interruptions():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(EXAMPLES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in EXAMPLES and cmd_name not in self.commands:
            name = cmd_name.replace("-", "_")
            function = getattr(import_module(f".{name}", __name__), name)
            self.add_command(command(cmd_name, function))
        return self.commands.get(cmd_name)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"onnxplain {__version__}")
        raise click.exceptions.Exit


def _print_completion(shell: str | None) -> None:
    """Print the script that a shell reads to complete commands and options."""
    if shell is not None:
        made = get_completion_class(shell)
        if made is None:
            raise click.BadParameter(f"{shell!r} is unknown; there are bash, fish and zsh.")
        print(made(app, {}, _NAME, _COMPLETION).source())
        raise click.exceptions.Exit


def root(
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, Option("--debug", callback=set_debug, help="Before an error, print what led to it and to its causes.")
    ] = False,
    show_completion: Annotated[
        str | None,
        Option(
            "--show-completion",
            metavar="SHELL",
            callback=_print_completion,
            is_eager=True,
            help='Print what bash, fish or zsh reads to complete commands: eval "$(onnxplain --show-completion bash)".',
        ),
    ] = None,
) -> None:
    """Saliency maps for any ONNX model: what in a photo made the model choose a class."""


app = Commands(
    _NAME,
    params=parameters_of(root),
    callback=root,
    help=root.__doc__,
    no_args_is_help=True,
    context_settings=SETTINGS,
    epilog="Exit codes: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong command line, 130 interrupted.",
)


def main() -> None:
    """Run the command line of this process; :mod:`..__main__` is what a console starts."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an encoding may lack characters of names
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app.main(prog_name=_NAME, complete_var=_COMPLETION, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        report("interrupted")
    sys.exit(code)
