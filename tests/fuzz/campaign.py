"""Many seeds in processes with limits, what came of them, and the table of it in docs/reliability.md."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .worker import SECONDS

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"
_SHARE = 100  # seeds for each process
_START = "<!-- the fuzz: written by tests/fuzz -->"
_END = "<!-- end of the fuzz -->"


@dataclass
class Tally:
    """What came of the seeds of one kind."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    longest: float = 0.0
    growth: int = 0

    def add(self, seed: int, found: Mapping[str, Any]) -> None:
        """Count what came of a seed: its kind, what and where it was, seconds, and bytes that the process grew by."""
        self.outcomes[found["kind"]] += 1
        self.longest = max(self.longest, found["seconds"])
        self.growth = max(self.growth, found["growth"])
        if found["kind"] not in ("fine", "refused"):
            self.places[found["kind"], found["what"]] += 1
            self.examples.setdefault((found["kind"], found["what"]), (seed, found["text"]))

    @property
    def failed(self) -> int:
        """How many ended in anything but a result or a clear error."""
        return sum(self.outcomes[kind] for kind in ("traceback", "hang", "memory", "died"))


def campaign(
    kind: str, count: int, first: int = 0, processes: int = 1, *, zoo: bool = True, keep: Path | None = None
) -> Tally:
    """Try ``count`` seeds of a kind ("models", "pictures" or "sidecars"); without ``zoo`` they are alike everywhere.

    What came of each seed is a line of the file ``keep``; seeds that are in it count, and are not tried again.
    """
    environment = {key: value for key, value in os.environ.items() if zoo or key != "ONNXPLAIN_ZOO"}
    tally, lock = Tally(kind), threading.Lock()
    kept = {seed: line for seed, line in _kept(keep, kind) if first <= seed < first + count}
    for seed, line in kept.items():
        tally.add(seed, line)
    shares: queue.SimpleQueue[range] = queue.SimpleQueue()
    for share in _shares(first, first + count, kept.keys()):
        shares.put(share)

    def work(_: int) -> None:
        while True:
            try:
                share = shares.get_nowait()
            except queue.Empty:
                return
            for seed, found in _tried(kind, share, environment):
                with lock:
                    tally.add(seed, found)
                    if keep is not None:
                        with keep.open("a", encoding="utf-8") as file:
                            file.write(json.dumps({"of": kind, "seed": seed, **found}) + "\n")

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(work, range(processes)))
    return tally


def _kept(keep: Path | None, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the seeds that an interrupted run finished, and what came of them."""
    if keep is None or not keep.exists():
        return
    for line in keep.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        if found.pop("of") == kind:
            yield found.pop("seed"), found


def _shares(first: int, end: int, done: Collection[int]) -> Iterator[range]:
    """Yield what is left to try, at most ``_SHARE`` seeds in a row."""
    start = first
    for seed in range(first, end + 1):
        if seed == end or seed in done or seed - start == _SHARE:
            if start < seed:
                yield range(start, seed)
            start = seed + (seed in done)


def _tried(kind: str, seeds: range, environment: dict[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield every seed and what came of it; a process that dies is started again."""
    start = seeds.start
    while start < seeds.stop:
        command = [sys.executable, "-m", "fuzz.worker", kind, str(start), str(seeds.stop)]
        process = subprocess.Popen(
            command, cwd=TESTS, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        watch = threading.Timer(len(seeds) * SECONDS, process.kill)
        watch.start()
        current, base = start, 0
        assert process.stdout is not None
        for line in process.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                continue  # a library's own words
            current = found.pop("seed")
            if "kind" in found:
                peak = found.pop("peak")
                base = base or peak
                yield current, {**found, "growth": peak - base}
                start = current + 1
        assert process.stderr is not None
        with process.stderr:
            errors = process.stderr.read()
        watch.cancel()
        process.stdout.close()
        if process.wait() or start < seeds.stop:
            where = re.search(r'File "[^"]*/onnxplain/[^"]*?([^/"]+)", line \d+ in (\w+)', errors)
            kind = "hang" if "Timeout (" in errors else "died"
            what = f"code {process.returncode} in {':'.join(where.groups()) if where else '?'}"
            text = errors.strip()[-300:]
            yield current, {"kind": kind, "what": what, "text": text, "seconds": 0.0, "growth": 0}
            start = current + 1


def report(tallies: list[Tally]) -> str:
    """The table of what came of every kind, in Markdown."""
    names = {"models": "models", "pictures": "pictures", "sidecars": "sidecars and metadata"}
    lines = [
        "| what | tries | results | clear errors | caught by the guard | tracebacks | hangs | out of memory | crashes "
        "| longest | most growth |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for tally in tallies:
        counts = [tally.outcomes[k] for k in ("fine", "refused", "caught", "traceback", "hang", "memory", "died")]
        cells = [names[tally.kind], *(f"{n:,}" for n in (tally.outcomes.total(), *counts))]
        cells += [f"{tally.longest:.1f} s", f"{tally.growth / 2**20:.0f} MB"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(tallies: list[Tally], page: Path = PAGE) -> None:
    """Put the table into the page, in the place of the last one."""
    text = page.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(_START)}.*?{re.escape(_END)}", re.DOTALL)
    page.write_text(between.sub(lambda _: f"{_START}\n{report(tallies)}\n{_END}", text), encoding="utf-8")
