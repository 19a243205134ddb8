"""How far a run is: a bar in a terminal, a line now and then elsewhere; and the end of a run with too many errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from ..errors import InputError
from ..progress import lines_above_bars
from ..text import printable

#: Seconds between two lines where there is no terminal.
_SECONDS = 30.0
#: Errors that are printed; all of them are in the shards.
_SHOWN = 10


class Meter:
    """Counts photos and errors, and says so on stderr."""

    def __init__(
        self,
        total: int,
        *,
        done: int = 0,
        errors: int = 0,
        max_errors: int | None = None,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        quiet: bool = False,
    ) -> None:
        """Begin with ``done`` of ``total`` photos, of which ``errors`` failed."""
        self.errors = errors
        self._total, self._done, self._begun = total, done, done
        self._max_errors, self._shown = max_errors, 0
        self._file, self._clock, self._quiet = file or sys.stderr, clock, quiet
        self._start = self._said = clock()
        self._draw: Callable[[], None] = self._line

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw a bar meanwhile, in a terminal."""
        if self._quiet or not self._file.isatty():
            yield
            return
        from tqdm import tqdm

        looks = "{bar:30} {desc}"
        with (
            tqdm(total=self._total, initial=self._done, leave=False, file=self._file, bar_format=looks) as bar,
            lines_above_bars(),
        ):

            def draw() -> None:
                bar.n = self._done
                bar.set_description_str(self.words())

            self._draw = draw
            try:
                draw()
                yield
            finally:
                self._draw = self._line

    def add(self, photos: int, failures: list[str], errors: int) -> None:
        """Count photos and errors, of which ``failures`` are the texts of the first ones.

        Raises:
            InputError: there are more errors than are allowed.
        """
        self._done += photos
        self.errors += errors
        for text in failures:
            if self._shown < _SHOWN:
                self._shown += 1
                self._say(printable(f"onnxplain: error: {' '.join(text.split())}"))
            elif self._shown == _SHOWN:
                self._shown += 1
                self._say("onnxplain: further errors are in the column 'error' of the shards.")
        if self._max_errors is not None and self.errors > self._max_errors:
            raise InputError(
                f"stopped after {self.errors} errors (--max-errors {self._max_errors}); what is written stays, and "
                "--resume goes on."
            )
        self._draw()

    @property
    def rate(self) -> float:
        """Photos a second, of this process."""
        return (self._done - self._begun) / max(self._clock() - self._start, 1e-9)

    def words(self) -> str:
        """How far the run is, in words."""
        left = (self._total - self._done) / self.rate if self._done > self._begun else None
        time_left = "" if left is None else f", {duration(left)} left"
        return f"{self._done:,} of {self._total:,} photos, {self.rate:.1f} a second{time_left}, {self.errors:,} errors"

    def _line(self) -> None:
        if not self._quiet and self._done < self._total and self._clock() - self._said >= _SECONDS:
            self._said = self._clock()
            self._say(f"onnxplain: {self.words()}")

    def _say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        from tqdm import tqdm

        tqdm.write(line, file=self._file)
        self._file.flush()


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
