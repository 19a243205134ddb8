"""What the rewrite did: which operators were put in where, and what was left as it was, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import onnx


@dataclass(frozen=True)
class Note:
    """One place where a pattern was found: ``reason`` says why it was left, and is None where it was fused."""

    operator: str
    node: str
    reason: str | None = None


def fused(operator: str, node: onnx.NodeProto) -> Note:
    """Say that an operator was put in place of a node, and of those that led to it."""
    return Note(operator, node.name or node.output[0])


def left(operator: str, node: onnx.NodeProto, reason: str) -> Note:
    """Say that an operator would have stood for a node, but for the reason."""
    return Note(operator, node.name or node.output[0], reason)


@dataclass
class Report:
    """What was fused, by operator, and what was left."""

    counts: Counter[str] = field(default_factory=Counter)
    left: list[Note] = field(default_factory=list)

    def add(self, notes: Iterable[Note]) -> None:
        """Take in what one pattern says."""
        for note in notes:
            if note.reason is None:
                self.counts[note.operator] += 1
            else:
                self.left.append(note)
