"""``python -m kills --count 100``: kill every command that writes, and print what came of it as a table."""

from __future__ import annotations

import argparse
import signal
import sys

from .scenarios import scenarios
from .trial import trial

_SIGNALS = {"KILL": signal.SIGKILL, "INT": signal.SIGINT}


def main() -> None:
    """Run the trial; exit code 1 where something did not hold."""
    known = {one.name: one for one in scenarios()}
    parser = argparse.ArgumentParser(prog="python -m kills", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=_SIGNALS, default="KILL")
    parser.add_argument("--only", choices=known, action="append", help="this command; repeatable")
    chosen = parser.parse_args()
    print(f"| command | SIG{chosen.signal} | stopped | files old | files new | left unfinished | wrong |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    wrong: list[str] = []
    for name in chosen.only or known:
        found = trial(known[name], chosen.count, _SIGNALS[chosen.signal], chosen.seed)
        row = (found.kills, found.stopped, found.old, found.new, found.unfinished, len(found.wrong))
        print(f"| {name} | {' | '.join(map(str, row))} |", flush=True)
        wrong += found.wrong
        for reason in found.wrong[:20]:
            print(f"{name}: {reason}", file=sys.stderr, flush=True)
    sys.exit(bool(wrong))


main()
