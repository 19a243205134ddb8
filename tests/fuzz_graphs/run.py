"""The outcomes of many seeds, one after another or in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from functools import partial

from .check import Outcome, check, newest_opset
from .generate import generate


def run(seeds: range, processes: int = 1, *, stale: bool = False) -> Iterator[tuple[int, Outcome]]:
    """The outcome of every seed; with ``stale`` some models state wrong numbers of inner shapes."""
    one = partial(_one, stale=stale)
    if processes == 1:
        yield from map(one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(one, seeds, chunksize=16)


def _one(seed: int, *, stale: bool) -> tuple[int, Outcome]:
    try:
        return seed, check(generate(seed, newest_opset(), stale=stale))
    except Exception as error:  # a mistake of the fuzzer's own, which must not pass unseen
        return seed, Outcome("failed", f"{type(error).__name__}: {error}", "the fuzzer itself")
