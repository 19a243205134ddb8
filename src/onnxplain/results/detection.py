"""What a detector finds in one photo."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..target import Box, Target


@dataclass(frozen=True, repr=False)
class Detection(Target):
    """An object that a detector found, and a target: why this one.

    - ``box``: where, in the photo's own pixels and within the photo; for an array in pixels of the model's input.
    - ``label``: the name of its class, None without labels; ``target``: the index of the class.
    - ``score``: how sure the model is of it, 0..1.
    - ``index``: its row in the output of the model, among those of all scales.

    As a :class:`~onnxplain.Target` it means that class in that row, so that it belongs to the photo it was found in.
    """

    box: Box = field(kw_only=True)
    label: str | None = field(kw_only=True)
    score: float = field(kw_only=True)

    @classmethod
    def made(cls, box: Box, target: int, label: str | None, score: float, index: int) -> Detection:
        """The detection in row ``index`` of the output."""
        return cls(of=target, at=index, box=box, label=label, score=score)

    @property
    def target(self) -> int:
        assert isinstance(self.of, int)
        return self.of

    @property
    def index(self) -> int:
        assert isinstance(self.at, int)
        return self.at

    @property
    def name(self) -> str:
        """The label, or the number of the class where there is none."""
        return f"class {self.target}" if self.label is None else self.label

    @property
    def title(self) -> str:
        """The class and how sure the model is of it, for people."""
        return f"{self.name} {self.score:.1%}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "label": self.label,
            "target": self.target,
            "score": self.score,
            "box": asdict(self.box),
            "index": self.index,
        }

    def __repr__(self) -> str:
        box = ", ".join(f"{value:.0f}" for value in asdict(self.box).values())
        return f"<Detection of {self.title} at ({box}), row {self.index}>"
