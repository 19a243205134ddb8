"""docs/serving.md: its blocks run against a service of the bundled model."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from onnxplain.bundled import bundled_photo

from support import REPOSITORY
from support.service import SUPPORTED, python, service, surroundings

PAGE = REPOSITORY / "docs" / "serving.md"


def blocks() -> list[tuple[str, str]]:
    """Language and text of the blocks that ask a service."""
    found = re.findall(r"```(python|bash)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [(kind, text) for kind, text in found if "127.0.0.1:8080" in text and "onnxplain serve" not in text]


@pytest.mark.slow
@pytest.mark.skipif(not SUPPORTED, reason="kserve needs Python before 3.14")
def test_blocks_run(tmp_path: Path) -> None:
    assert len(blocks()) == 5
    shutil.copy(bundled_photo(), tmp_path / "photo.jpg")
    environment = surroundings(tmp_path / "path")
    environment["PATH"] = f"{python().parent}:{environment['PATH']}"
    with service(tmp_path / "run") as running:
        for kind, text in blocks():
            asked = text.replace("127.0.0.1:8080", f"127.0.0.1:{running.port}")
            command = [str(python()), "-c", asked] if kind == "python" else ["bash", "-euo", "pipefail", "-c", asked]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
            assert done.returncode == 0, (text, done.stderr[-2000:])
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert b'"png"' in (tmp_path / "answer.json").read_bytes()
