"""A progress bar on long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("explaining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Lines printed meanwhile go above the bar, unless they go to a file. They are not broken at the terminal's width.
    console = Console(stderr=True, soft_wrap=True)
    bar = Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
    task = bar.add_task("explaining", total=total)
    start, shown = time.monotonic(), False
    try:
        for done, item in enumerate(items, 1):
            bar.update(task, completed=done)
            if not shown and done != total and time.monotonic() - start > _PATIENCE_SECONDS:
                bar.start()
                shown = True
            yield item
    finally:
        if shown:
            bar.stop()
