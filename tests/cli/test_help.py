"""What ``--help`` shows: examples that are command lines, what options take, the list of methods, completion."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from onnxplain import cli
from onnxplain.cli.helping import EXAMPLES
from onnxplain.cli.methods import SUMMARIES
from onnxplain.methods import METHODS

from support.command_line import Runner, every_command

COMMANDS = every_command()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    monkeypatch.setenv("COLUMNS", "200")
    return Runner(tmp_path, monkeypatch, capsys)


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    assert all(line.startswith(f"onnxplain {name}") for name, lines in EXAMPLES.items() for line in lines)


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_says_what_options_take(run: Runner, name: str) -> None:
    code, out, _ = run(name, "-h")
    assert code == 0 and out == run(name, "--help").out
    assert all(line in out for line in EXAMPLES[name])
    assert not re.search(r"<(bool|str|int|float|path|list\[\w+\])>|\bTEXT\b", out)


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_are_command_lines(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, name, *words = shlex.split(line)
    command = COMMANDS[name]
    try:
        assert command.make_context(name, words).params
    except click.exceptions.Exit:  # it prints the methods
        assert "--method help" in line and "saliency" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["explain", "evaluate", "serve"])
def test_the_methods_are_listed_with_their_options(run: Runner, command: str) -> None:
    code, out, _ = run(command, "--method", "help")
    lines = out.splitlines()
    assert code == 0 and [line.split()[0] for line in lines if not line.startswith(" ")] == list(METHODS)
    assert set(SUMMARIES) == set(METHODS) and all(len(line) < 130 for line in lines)
    assert lines[2].endswith(SUMMARIES["smoothgrad"]) and lines[3].strip().startswith("--set samples=50, noise=0.15")


def test_commands_name_things_alike() -> None:
    names: dict[str, set[str]] = {}
    for name, command in COMMANDS.items():
        for option in command.params:
            for spelled in option.opts:
                names.setdefault(spelled, set()).add(name)
    assert names["--method"] >= {"explain", "evaluate", "bulk", "serve"}
    assert names["--provider"] >= {"explain", "detect", "evaluate", "bulk", "serve", "visualize-class"}
    assert names["--output"] >= set(COMMANDS) - {"check", "serve", "cache"}


def test_completion_is_offered(
    run: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = run("--show-completion", shell)
        assert code == 0 and "_ONNXPLAIN_COMPLETE" in out
    code, _, err = run("--show-completion", "sh")
    assert code == 2 and "bash, fish and zsh" in err
    monkeypatch.setenv("_ONNXPLAIN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "onnxplain vis")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and "visualize-class" in capsys.readouterr().out
