"""Python's search for cycles, which waits while a graph is built: its nodes and values are cycles that all live."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_waits() -> Iterator[None]:
    """Let the garbage collector wait, in all threads, for what is done inside; it is a fifth of the time otherwise."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
