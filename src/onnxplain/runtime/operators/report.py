"""What the rewrite did: which operators were put in, and what was left as it was, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Note:
    """One place where a pattern was found: ``reason`` says why it was left, and is None where it was fused."""

    operator: str
    node: str
    reason: str | None = None


@dataclass
class Report:
    """``fused``: how many operators of onnxplain's own stand for nodes of the model, by name; ``left``: what might have
    been fused, and why it was not."""

    fused: dict[str, int] = field(default_factory=dict)
    left: list[Note] = field(default_factory=list)

    def add(self, notes: Iterable[Note]) -> None:
        """Take in what one pattern says."""
        for note in notes:
            if note.reason is None:
                self.fused[note.operator] = self.fused.get(note.operator, 0) + 1
            else:
                self.left.append(note)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Return what :meth:`to_dict` was made of.

        Raises:
            KeyError, TypeError: it was made by another release.
        """
        return cls(dict(data["fused"]), [Note(**note) for note in data["left"]])


def fused(operator: str, node: onnx.NodeProto) -> Note:
    """Say that an operator was put in place of a node, and of those that led to it."""
    return Note(operator, node.name or node.output[0])


def left(operator: str, node: onnx.NodeProto, reason: str) -> Note:
    """Say that an operator would have stood for a node, but for the reason."""
    return Note(operator, node.name or node.output[0], reason)
