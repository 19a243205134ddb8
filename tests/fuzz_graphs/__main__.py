"""Check many random graphs: ``cd tests && python -m fuzz_graphs --count 20000 --seed 0 --processes 2``.

Prints a table of what came of them, and ends with 1 if something failed. Failures are shrunk and kept in ``cases/``.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from .cases import FOLDER, save
from .check import Outcome, newest_opset
from .generate import generate
from .run import run
from .shrink import shrink

_SHRUNK_OF_A_KIND = 2


def kind_of(reason: str) -> str:
    """A reason without the names and numbers of one graph."""
    reason = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", reason)
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", reason)[:100]


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz_graphs", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many graphs")
    parser.add_argument("--seed", type=int, default=0, help="the first one's seed; the others follow it")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--cases", type=Path, default=FOLDER, help="the folder for shrunk failures")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="stop after this long, tally what was tried"
    )
    parser.add_argument("--no-shrink", action="store_true", help="report failures as they are")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    begin, tally, failures = time.monotonic(), Counter[tuple[str, str]](), []
    for seed, outcome in run(range(asked.seed, asked.seed + asked.count), asked.processes):
        tally[outcome.kind, outcome.where or kind_of(outcome.reason)] += 1
        if outcome.kind == "failed":
            failures.append((seed, outcome))
            print(f"seed {seed}: {outcome.where}: {outcome.reason}", flush=True)
        if time.monotonic() - begin > asked.seconds:
            break
    seconds = time.monotonic() - begin
    _table(tally, seconds)
    if not asked.no_shrink:
        _keep(failures, asked.cases)
    return 1 if failures else 0


def _table(tally: Counter[tuple[str, str]], seconds: float) -> None:
    count = tally.total()
    print(f"\ntried    {count:7d}   in {seconds:.0f} s, {count / seconds:.1f} a second")
    for kind in ("agreed", "refused", "skipped", "failed"):
        print(f"{kind:8} {sum(n for (k, _), n in tally.items() if k == kind):7d}")
        for (k, reason), n in tally.most_common():
            if k == kind and reason:
                print(f"         {n:7d}   {reason}")


def _keep(failures: list[tuple[int, Outcome]], folder: Path) -> None:
    done: Counter[str] = Counter()
    for seed, outcome in failures:
        key = f"{outcome.where} {kind_of(outcome.reason)}"
        done[key] += 1
        if done[key] <= _SHRUNK_OF_A_KIND and outcome.where != "the fuzzer itself":
            small = shrink(generate(seed, newest_opset()), outcome)
            name = re.sub(r"\W+", "_", outcome.where).strip("_").lower()
            print(f"seed {seed} shrunk: {save(small, name, folder)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
