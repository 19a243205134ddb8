"""What the passes for a provider did to the gradient graph, node by node, and why they left a node alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir


@dataclass(frozen=True)
class Outcome:
    """One node that a pass looked at; ``reason`` says why it was left alone, None that it was rewritten."""

    rewrite: str
    node: str
    reason: str | None

    def __str__(self) -> str:
        done = "rewritten" if self.reason is None else f"left alone: {self.reason}"
        return f"{self.rewrite}: {self.node}: {done}"


@dataclass
class Report:
    """The outcomes in the order in which the passes met the nodes."""

    outcomes: list[Outcome] = field(default_factory=list)

    def fired(self, rewrite: str, node: ir.Node) -> None:
        """``node`` was rewritten."""
        self.outcomes.append(Outcome(rewrite, node.name or node.op_type, None))

    def left(self, rewrite: str, node: ir.Node, reason: str) -> None:
        """``node`` has what the pass rewrites, but not in a form that it can."""
        self.outcomes.append(Outcome(rewrite, node.name or node.op_type, reason))

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many nodes each pass rewrote, and how many it left alone."""
        found: dict[str, tuple[int, int]] = {}
        for outcome in self.outcomes:
            done, left = found.get(outcome.rewrite, (0, 0))
            found[outcome.rewrite] = (done + (outcome.reason is None), left + (outcome.reason is not None))
        return found
