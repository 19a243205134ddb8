"""How far a run is: lines where there is no terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from onnxplain import InputError
from onnxplain.bulk.meter import Meter, duration

from support.terminal import shown


class Clock:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_half_minute_has_the_rate_and_the_time_left() -> None:
    clock, file = Clock(), io.StringIO()
    meter = Meter(1000, done=100, errors=1, file=file, clock=clock)
    with meter.shown():
        for number in range(90):
            clock.now += 1
            meter.add(5, ["bad"] if number == 0 else [], int(number == 0))
    lines = file.getvalue().splitlines()
    assert lines[0] == "onnxplain: error: bad"
    assert lines[1:] == [
        "onnxplain: 250 of 1,000 photos, 5.0 a second, 2 min left, 2 errors",
        "onnxplain: 400 of 1,000 photos, 5.0 a second, 2 min left, 2 errors",
        "onnxplain: 550 of 1,000 photos, 5.0 a second, 90 s left, 2 errors",
    ]


def test_ten_errors_are_printed_and_the_limit_ends_the_run() -> None:
    file = io.StringIO()
    meter = Meter(100, file=file, max_errors=20)
    for number in range(20):
        meter.add(1, [f"{number}"], 1)
    lines = file.getvalue().splitlines()
    assert len(lines) == 11 and lines[9] == "onnxplain: error: 9" and "column 'error'" in lines[10]
    with pytest.raises(InputError, match="stopped after 21 errors"):
        meter.add(1, ["20"], 1)


def test_errors_from_before_count() -> None:
    with pytest.raises(InputError, match="stopped after 3 errors"):
        Meter(10, errors=2, max_errors=2, file=io.StringIO()).add(1, ["bad"], 1)


@pytest.mark.parametrize(("seconds", "words"), [(9.6, "10 s"), (150, "2 min"), (5999, "1 h 40 min")])
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_bar_in_a_terminal_that_lines_stand_above() -> None:
    text = shown(
        "import sys, time\n"
        "from onnxplain.bulk.meter import Meter\n"
        "meter = Meter(4)\n"
        "with meter.shown():\n"
        "    for number in range(4):\n"
        "        time.sleep(0.2); meter.add(1, ['bad photo'] if number == 1 else [], int(number == 1))\n"
        "        print('a warning', file=sys.stderr)\n",
        columns=90,
    )
    assert b"2 of 4 photos" in text and text.count(b"onnxplain: error: bad photo\r\n") == 1
    assert text.count(b"a warning\r\n") == 4 and not re.search(rb"photos[^\r\n]*(warning|bad)", text)
