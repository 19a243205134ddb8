"""The log of explanations: lines that outlive a process, and the shards of Parquet that they become."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxplain.errors import RuntimeMissingError
from onnxplain.serve import journal
from onnxplain.serve.journal import Journal
from onnxplain.serve.log_shards import packed

parquet = pytest.importorskip("pyarrow.parquet")
posix = pytest.mark.skipif(sys.platform == "win32", reason="locks and signals are those of POSIX")
MAP = np.random.default_rng(0).random((4, 6), np.float32)


def line(name: str, **more: Any) -> bytes:
    """A line as the service logs it."""
    found = {
        "time": "2026-11-30T07:00:00.123456+00:00",
        "request": name,
        "sample": 0,
        "model": "small",
        "model_sha256": "a" * 64,
        "input_sha256": "b" * 64,
        "asked": {"of": "cat", "versus": "dög"},
        "method": "smoothgrad",
        "options": {"samples": 7},
        "versions": {"onnxplain": "1"},
        "preprocessing": None,
        "provider": "CPUExecutionProvider",
        "target": 3,
        "label": "cat",
        "score": 0.25,
        "probability": None,
        "versus": "dog",
        "step": None,
        "box": [1.0, 2.0, 3.0, 4.5],
        "maps": {"x": packed(MAP)},
        **more,
    }
    return json.dumps(found).encode() + b"\n"


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(folder.glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


def test_a_line_becomes_a_row_with_all_that_it_says(tmp_path: Path) -> None:
    log = Journal(tmp_path, parquet=True)
    log.append(line("one") + line("two", photo="AAAA", box=None, maps={}))
    assert [file.suffix for file in tmp_path.iterdir()] == [".jsonl"]
    log.close()
    assert [file.suffix for file in tmp_path.iterdir()] == [".parquet"]
    first, second = rows(tmp_path)
    [saliency] = first.pop("maps")
    assert saliency["input"] == "x"
    assert np.array_equal(np.float16(saliency["values"]).reshape(saliency["shape"]), MAP.astype(np.float16))
    assert first.pop("time") == datetime(2026, 11, 30, 7, 0, 0, 123456, timezone.utc)
    said = json.loads(line("one"))
    for name in ("asked", "options", "versions", "preprocessing"):
        assert json.loads(first.pop(name)) == said[name]
    assert first == {"photo": None, **{name: said[name] for name in first if name != "photo"}}
    assert (second["request"], second["photo"], second["maps"], second["box"]) == ("two", b"\0\0\0", [], None)


def test_a_full_file_becomes_a_shard_and_a_new_one_begins(tmp_path: Path) -> None:
    log = Journal(tmp_path, parquet=True, most=3 * len(line("0000")))
    for number in range(10):
        log.append(line(f"{number:04}"))
    log.close()
    assert len(list(tmp_path.glob("*.parquet"))) == 4 and not list(tmp_path.glob("*.jsonl"))
    assert sorted(row["request"] for row in rows(tmp_path)) == [f"{number:04}" for number in range(10)]


def test_without_parquet_lines_stay_lines(tmp_path: Path) -> None:
    log = Journal(tmp_path)
    log.append(line("one"))
    log.close()
    [file] = tmp_path.iterdir()
    assert file.read_bytes() == line("one")


@posix
def test_what_was_left_becomes_shards_and_what_is_being_written_does_not(tmp_path: Path) -> None:
    left, cut, twice, empty = (tmp_path / f"explanations-2026-11-29-1-{name}-0.jsonl" for name in "abcd")
    left.write_bytes(line("left"))
    cut.write_bytes(line("whole") + line("cut")[:50])
    twice.write_bytes(line("twice"))
    journal.write_shard(twice.with_suffix(".parquet"), [line("twice")])
    empty.touch()
    other = Journal(tmp_path)
    other.append(line("other"))
    (tmp_path / "notes.jsonl").write_text("not ours")
    Journal(tmp_path, parquet=True).close()
    assert sorted(row["request"] for row in rows(tmp_path)) == ["left", "twice", "whole"]
    other.append(line("again"))
    [live] = tmp_path.glob("explanations-*.jsonl")
    assert live.read_bytes() == line("other") + line("again")
    other.close()
    assert (tmp_path / "notes.jsonl").read_text() == "not ours"


def test_what_cannot_become_a_shard_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "explanations-2026-11-29-1-a-0.jsonl"
    broken.write_bytes(b"no line of a log\n")

    def full(path: Path, lines: object) -> None:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.ERROR):
        Journal(tmp_path, parquet=True).close()
        log = Journal(tmp_path, parquet=True)
        log.append(line("one"))
        monkeypatch.setattr(journal, "write_shard", full)
        log.close()
    assert "stays as JSON lines" in caplog.text and "No space left" in caplog.text
    assert broken.read_bytes() == b"no line of a log\n" and not list(tmp_path.glob("*.parquet"))
    assert not [file for file in os.listdir(tmp_path) if file.endswith(".part")]
    monkeypatch.undo()
    Journal(tmp_path, parquet=True).close()
    assert [row["request"] for row in rows(tmp_path)] == ["one"]


def test_without_pyarrow_parquet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RuntimeMissingError, match=r"--log-format parquet needs pyarrow: python -m pip install"):
        Journal(tmp_path, parquet=True)
    log = Journal(tmp_path)
    log.append(line("one"))
    log.close()
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


#: Appends lines until it is killed, and writes down the names of those that were appended.
_WRITER = """
import os, sys, threading
from pathlib import Path
from onnxplain.serve.journal import Journal

folder, turn = Path(sys.argv[1]), sys.argv[2]
text = (folder.parent / "line").read_text()
log = Journal(folder, parquet=True, most=20_000)
done = os.open(folder.parent / "done", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def work(worker):
    for number in range(10**9):
        name = f"{turn}.{worker}.{number}"
        log.append(text.replace("NAME", name).encode())
        os.write(done, f"{name}\\n".encode())

for worker in range(3):
    threading.Thread(target=work, args=(worker,), daemon=True).start()
threading.Event().wait()
"""


@posix
@pytest.mark.slow
def test_kills_at_ten_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    folder, done, moments = tmp_path / "log", tmp_path / "done", random.Random(3)
    folder.mkdir()
    done.touch()
    (tmp_path / "line").write_bytes(line("NAME"))
    left = []
    for turn in range(10):
        before = done.stat().st_size
        process = subprocess.Popen([sys.executable, "-c", _WRITER, folder, str(turn)])
        end = time.monotonic() + 60
        while done.stat().st_size == before and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        assert process.wait() == -9
        left.append(len(list(folder.glob("*.jsonl"))))
    log = Journal(folder, parquet=True)
    log.close()
    found = [row["request"] for row in rows(folder)]
    answered = done.read_text().split("\n")[:-1]
    assert max(left) > 1 and len(found) > 100, f"no kill came while a shard was made: {left}"
    assert len(found) == len(set(found)) and set(answered) <= set(found)
    assert {file.suffix for file in folder.iterdir()} == {".parquet"}
