"""A bar in terminals, lines elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest

from onnxplain import progress

from support.terminal import shown

LONG = "out/" + "-".join(["a-long-name"] * 20) + ".png"


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    times = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(times)))
    assert list(progress.track(range(10), 10, show=True)) == list(range(10))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"onnxplain: {n} of 10 done, about {4 * (10 - n)} s left" for n in (3, 6, 9)]
    assert list(progress.track(range(100), None, show=True))[-1] == 99
    assert "onnxplain: 3 done\n" in capsys.readouterr().err


@pytest.mark.parametrize("show", [None, False])
def test_silence_unless_asked_for(show: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track(range(3), 3, show=show)) == [0, 1, 2] and capsys.readouterr().err == ""


def test_work_stops_with_its_reader() -> None:
    closed = []

    def work() -> Iterator[int]:
        try:
            yield from range(5)
        finally:
            closed.append(True)

    found = progress.track(work(), 5, show=True)
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert closed == [True]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_long_lines_are_not_torn_by_the_bar() -> None:
    text = shown(
        "import sys, time, onnxplain.progress as p; p._PATIENCE_SECONDS = 0\n"
        f"for n in p.track(range(3), 3): time.sleep(0.2); print({LONG!r}); print('bad photo', file=sys.stderr)"
    )
    assert b"explaining" in text and text.count(LONG.encode()) == 3 and text.count(b"bad photo") == 3
    assert not re.search(rb"explaining[^\r\n]*(out/|bad)", text), "a line begins behind the bar"
