"""The outcomes of many seeds, one after another or in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

from .check import Outcome, check, newest_opset
from .generate import generate


def run(seeds: range, processes: int = 1) -> Iterator[tuple[int, Outcome]]:
    """The outcome of every seed."""
    if processes == 1:
        yield from map(_one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_one, seeds, chunksize=16)


def _one(seed: int) -> tuple[int, Outcome]:
    try:
        return seed, check(generate(seed, newest_opset()))
    except Exception as error:  # a mistake of the fuzzer's own, which must not pass unseen
        return seed, Outcome("failed", f"{type(error).__name__}: {error}", "the fuzzer itself")
