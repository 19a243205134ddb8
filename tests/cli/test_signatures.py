"""Commands from signatures: what a parameter's annotation makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import click
import pytest

from onnxplain.cli.signatures import Argument, Option, parameters_of
from onnxplain.cli.tables import table


def _even(number: int) -> int:
    if number % 2:
        raise click.BadParameter(f"{number} is odd.")
    return number * 10


def _all_kinds(
    first: Annotated[Path, Argument(help="A file.")],
    rest: Annotated[list[Path] | None, Argument(help="More.")] = None,
    flag: Annotated[bool, Option("--flag", "-f", help="A flag.")] = False,
    count: Annotated[int, Option("--count", callback=_even, help="A number.")] = 2,
    share: Annotated[float | None, Option("--share", help="A share.")] = None,
    names: Annotated[list[str] | None, Option("--name", help="Names.")] = None,
    plain_name: Annotated[str | None, Option(help="Called as the parameter is.")] = None,
) -> None: ...


def _needs(out: Annotated[Path, Option("-o", help="A file.")]) -> None: ...


def read(function: Callable[..., None], *words: str) -> dict[str, Any]:
    command = click.Command("test", params=parameters_of(function), callback=function)
    return command.make_context("test", list(words)).params


def test_what_is_left_out_is_the_default_of_the_signature() -> None:
    assert read(_all_kinds, "a") == {
        "first": Path("a"),
        "rest": None,
        "flag": False,
        "count": 20,
        "share": None,
        "names": None,
        "plain_name": None,
    }


def test_values_have_the_types_of_the_annotations() -> None:
    words = ["a", "b", "c", "-f", "--count", "4", "--share", "0.5", "--name", "x", "--name", "y", "--plain-name", "z"]
    assert read(_all_kinds, *words) == {
        "first": Path("a"),
        "rest": [Path("b"), Path("c")],
        "flag": True,
        "count": 40,
        "share": 0.5,
        "names": ["x", "y"],
        "plain_name": "z",
    }


@pytest.mark.parametrize(
    ("function", "words", "says"),
    [
        (_all_kinds, (), "Missing argument"),
        (_all_kinds, ("a", "--count", "3"), "3 is odd"),
        (_all_kinds, ("a", "--count", "x"), "not a valid integer"),
        (_all_kinds, ("a", "--nothing"), "No such option"),
        (_needs, (), "Missing option '-o'"),
    ],
)
def test_wrong_lines_are_refused(function: Callable[..., None], words: tuple[str, ...], says: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        read(function, *words)
    assert says in refused.value.format_message()


def test_columns_of_a_table_end_together() -> None:
    assert table(("name", "size"), [("cat", "7"), ("虎猫", "12"), ("e\u0301", "3\n")]) == [
        "name  size",
        "----  ----",
        "cat      7",
        "虎猫    12",
        "e\u0301      3\\n",
    ]
    assert table((), [("a", "long value"), ("bb", "c")], left=2) == ["a   long value", "bb  c"]
