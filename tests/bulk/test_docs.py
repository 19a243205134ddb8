"""The commands and programs of docs/bulk.md run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from onnxplain.bundled import bundled_photo

from support import REPOSITORY
from support import bulk as made
from support.command_line import Runner

pytest.importorskip("pyarrow")

_PAGE = (REPOSITORY / "docs" / "bulk.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_code_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In order; pip's lines, and those that need Ray, are left out: tests/bulk/test_on_ray.py has these."""
    (tmp_path / "photos").mkdir()
    photo = bundled_photo()
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(photo, tmp_path / "photos" / name)
    (tmp_path / "list.csv").write_text("path,class\nphotos/a.jpg,281\nphotos/b.jpg,lynx\n")
    made.write_tar(tmp_path / "train-0000.tar", {"0.jpg": photo.read_bytes(), "0.cls": b"285"})
    run, ran = Runner(tmp_path, monkeypatch, capsys), 0
    for kind, code in re.findall(r"^```(\w+)\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL):
        if kind == "python":
            exec(code, {})
            ran += 1
            continue
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "onnxplain" and "ray" not in words:
                assert (run(*words[1:])[::2]) == (0, ""), line
                ran += 1
    assert ran == 9


def test_the_page_names_every_column_and_option() -> None:
    from dataclasses import fields

    from onnxplain.bulk.shards import Row
    from onnxplain.cli.bulk import EngineOptions, ShardOptions, SourceOptions

    columns = [one.name for one in fields(Row)] + ["h", "w", "model_sha256"]
    assert [name for name in columns if f"`{name}`" not in _PAGE] == []
    groups = (SourceOptions, ShardOptions, EngineOptions)
    options = [one.name.replace("formats", "format").replace("_", "-") for group in groups for one in fields(group)]
    assert [name for name in options if f"--{name}" not in _PAGE] == []
