"""Paths in lines for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxplain.bundled import bundled_model, bundled_photo
from onnxplain.cli.common import short_path


def test_paths_are_shown_from_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "work"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    expected = {
        here / "photos" / "a.jpg": str(Path("photos", "a.jpg")),
        home / "photos" / "a.jpg": str(Path("~", "photos", "a.jpg")),
        tmp_path / "a.jpg": str(tmp_path / "a.jpg"),
        Path("photos", "a.jpg"): str(Path("photos", "a.jpg")),
        Path("..", "a.jpg"): str(Path("..", "a.jpg")),
        bundled_photo(): "chelsea.jpg",
        bundled_model(): "efficientnet_lite0.onnx",
    }
    assert {path: short_path(path) for path in expected} == expected
