"""``cd tests && python -m support.conformance``: run everything and write docs/operators.md."""

from __future__ import annotations

from support.conformance.page import PAGE, render, summary
from support.conformance.runner import verdicts

first, every = verdicts(every_input=False), verdicts(every_input=True)
PAGE.write_text(render(first, every))
for title, found in (("first float input", first), ("all float inputs", every)):
    print(summary(title, found))
    for verdict in found:
        if verdict.outcome == "wrong":
            print(f"  wrong: {verdict.case.name}: {verdict.reason}")
