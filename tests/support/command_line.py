"""Commands run in this process, in a folder of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from onnxplain import cli


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Runner:
    """Runs the command line in this process, in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.chdir(folder)

    def __call__(self, *arguments: object) -> Result:
        self._monkeypatch.setattr(sys, "argv", ["onnxplain", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = self._capsys.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}


def every_command() -> dict[str, click.Command]:
    """The commands by their names, in the order of the help."""
    context = click.Context(cli.app)
    found = {name: cli.app.get_command(context, name) for name in cli.app.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}
