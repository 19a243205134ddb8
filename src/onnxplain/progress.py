"""A progress bar on long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: Work that is done sooner shows no bar.
_PATIENCE_SECONDS = 1.0


def track(items: Iterable[T], total: int | None, *, show: bool | None = None) -> Iterator[T]:
    """``items``, with a bar on stderr once a second has passed and some are left.

    ``total`` is their number, None if unknown. ``show``: None for terminals only, False never, True always.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("explaining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Lines printed meanwhile go above the bar, unless they go to a file.
    to_terminal = sys.stdout.isatty()
    bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=to_terminal)
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
