"""A progress bar on long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from typing import Any, TypeVar

T = TypeVar("T")

#: Work that is done sooner shows nothing.
_PATIENCE_SECONDS = 1.0
#: Where there is no terminal, lines are printed this far apart.
_LINE_SECONDS = 10.0


def track(items: Iterable[T], total: int | None, *, show: bool | None = None) -> Iterator[T]:
    """``items``, with a bar on stderr once a second has passed and some are left.

    ``total`` is their number, None if unknown. ``show``: None for terminals only, False never, True always: where
    stderr is no terminal, a line every ten seconds takes the place of the bar.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        return iter(items)
    return _with_bar(items, total) if sys.stderr.isatty() else _with_lines(items, total)


def _with_lines(items: Iterable[T], total: int | None) -> Iterator[T]:
    start = told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told < _LINE_SECONDS or done == total:
            continue
        told = now
        of = "" if total is None else f" of {total}"
        left = "" if total is None else f", about {_duration((now - start) / done * (total - done))} left"
        print(f"onnxplain: {done}{of} done{left}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _with_bar(items: Iterable[T], total: int | None) -> Iterator[T]:
    from tqdm import tqdm

    bar = tqdm(items, "explaining", total, leave=False, file=sys.stderr, delay=_PATIENCE_SECONDS, dynamic_ncols=True)
    with lines_above_bars():
        yield from bar


@contextmanager
def lines_above_bars() -> Iterator[None]:
    """Print what is printed meanwhile above the bar, unless it goes to a file."""
    from tqdm.contrib import DummyTqdmFile

    sys.stdout.flush()
    above: Any = DummyTqdmFile(sys.stderr)  # the terminal of the bar, which makes room for its own file alone
    with redirect_stderr(above), redirect_stdout(above) if sys.stdout.isatty() else nullcontext():
        yield
