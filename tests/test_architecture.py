"""docs/architecture.md and CONTRIBUTING.md name folders and files that exist, and leave out no room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import REPOSITORY

PACKAGE = REPOSITORY / "src" / "onnxplain"
ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
DECISIONS = REPOSITORY / "docs" / "decisions"
PAGES = (ARCHITECTURE, REPOSITORY / "docs" / "targets.md", REPOSITORY / "CONTRIBUTING.md", DECISIONS / "README.md")

#: Folders of the repository that a path in these pages begins with; others are examples of a user's own files.
_TOP = ("src/", "tests/", "docs/", "cpp/", "benchmarks/", "models/", "autodiff/", ".ci/")
_PATH = re.compile(rf"(?<![\w/.<])(?:{'|'.join(re.escape(top) for top in _TOP)})[\w./*-]*")


def paths(text: str) -> list[str]:
    """Return the paths that a text names; one with a part in angle brackets stands for many and is left out."""
    found = [(match.group().rstrip("."), text[match.end() : match.end() + 1]) for match in _PATH.finditer(text)]
    return [path for path, after in found if after != "<"]


def exists(path: str) -> bool:
    """Return whether a path is there, counted from the repository or from the package."""
    return any(next(iter(base.glob(path)), None) is not None for base in (REPOSITORY, PACKAGE))


def links(page: Path) -> list[str]:
    """Return the files that a page links to or shows."""
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    return [target for target in targets if "://" not in target]


def rooms() -> list[str]:
    """Return the folders of the package that hold modules, from the package on."""
    return sorted(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("**/__init__.py"))[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_a_page_exists(page: Path) -> None:
    assert [path for path in paths(page.read_text(encoding="utf-8")) if not exists(path)] == []
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def test_every_room_is_mentioned() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert [room for room in rooms() if f"src/onnxplain/{room}/" not in text] == []


def test_every_module_of_the_ground_floor_is_mentioned() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    modules = [path.name for path in PACKAGE.glob("[a-z]*.py")]
    assert [name for name in modules if f"`{name}`" not in text] == []


def test_every_decision_is_in_the_index() -> None:
    text = (DECISIONS / "README.md").read_text(encoding="utf-8")
    notes = sorted(path.name for path in DECISIONS.glob("0*.md"))
    assert [note for note in notes if f"({note})" not in text] == []
    assert [int(note[:4]) for note in notes] == list(range(1, len(notes) + 1))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see `src/onnxplain/nowhere.py`.", ["src/onnxplain/nowhere.py"]),
        ("`tests/autodiff/rules/test_rules.py -k Conv`", ["tests/autodiff/rules/test_rules.py"]),
        ("`src/onnxplain/autodiff/rules/<family>.py`", []),
        ("`autodiff/prepare/upgrade_opset.py`", ["autodiff/prepare/upgrade_opset.py"]),
    ],
)
def test_a_path_is_read_from_a_page(text: str, found: list[str]) -> None:
    assert paths(text) == found


def test_a_path_that_is_not_there_is_seen() -> None:
    assert not exists("src/onnxplain/nowhere.py")
    assert exists("autodiff/prepare/upgrade_opset.py")
