"""Try thousands of damaged files: ``cd tests && python -m fuzz --models 10000 --pictures 5000 --sidecars 2000``.

Writes the table in docs/reliability.md if asked to (``--write``), and ends with 1 if anything ended in no clear error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .campaign import Tally, campaign, report, write


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    for kind in ("models", "pictures", "sidecars"):
        parser.add_argument(f"--{kind}", type=int, default=0, help=f"how many damaged {kind}")
    parser.add_argument("--seed", type=int, default=0, help="the first one's seed; the others follow it")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-write", action="store_true", help="leave docs/reliability.md as it is")
    parser.add_argument("--keep", type=Path, help="a file for what came of each seed, from which a later run goes on")
    asked = parser.parse_args()
    tallies: list[Tally] = []
    for kind in ("models", "pictures", "sidecars"):
        if count := getattr(asked, kind):
            tallies.append(campaign(kind, count, asked.seed, asked.processes, keep=asked.keep))
            for (outcome, what), times in tallies[-1].places.most_common():
                seed, text = tallies[-1].examples[outcome, what]
                print(f"{times:6d} {kind} {outcome}: {what}; first seed {seed}: {text}", flush=True)
    print(report(tallies))
    if not asked.no_write:
        write(tallies)
    return 1 if any(tally.failed for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
