"""The gallery in docs/: a text and a picture for every method and every kind of picture, and no others."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from PIL import Image

from onnxplain.methods import METHODS
from onnxplain.results.explanation import PICTURES

from support import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    import gallery

    return gallery


def test_every_method_and_every_kind_is_described(gallery: ModuleType) -> None:
    assert set(gallery.METHOD_TEXTS) == set(METHODS), "docs/gallery_texts.py says what each method can and cannot tell"
    assert {*PICTURES, "grid", "report", "tokens", "bars"} <= set(gallery.KINDS)


def test_the_page_is_what_the_script_writes(gallery: ModuleType) -> None:
    assert (DOCS / "gallery.md").read_text(encoding="utf-8") == gallery.page(), "run python docs/gallery.py"


def test_every_picture_is_there_and_used(gallery: ModuleType) -> None:
    linked = set(re.findall(r"\]\((images/[^)]+)\)", gallery.page()))
    there = {path.relative_to(DOCS).as_posix() for path in (DOCS / "images" / "gallery").iterdir()}
    assert linked == there - {"images/gallery/coffee.jpg"}
    for name in there:
        with Image.open(DOCS / name) as picture:
            assert picture.width > 200
    assert sum((DOCS / name).stat().st_size for name in there) < 1.5e6
