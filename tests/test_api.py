"""docs/api.txt lists the public names and their signatures, as they are."""

from __future__ import annotations

import sys

import pytest

import onnxplain

from support import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="overloads are known from Python 3.11 on")
def test_the_list_of_public_names_is_what_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import api

    assert (DOCS / "api.txt").read_text(encoding="utf-8") == api.text(), "run python docs/api.py"


def test_every_public_name_is_listed() -> None:
    listed = (DOCS / "api.txt").read_text(encoding="utf-8")
    assert [name for name in onnxplain.__all__ if f"onnxplain.{name}" not in listed and name != "__version__"] == []
