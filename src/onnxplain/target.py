"""The question: which number of a model's output is explained.

A :class:`Target` says it in the words of the output: a class, where, rather than what, or similar to what. Which of its
fields are set decides the graph (:class:`Kind`); their values are inputs of that graph, one for each sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, TargetError

#: How a place in the output is given to the graph, or found by it; None: the output has no places.
Place = Literal["position", "region", "box", "own", "best", "all"] | None
_WORDS = ("own", "best", "all")
#: Numbers of a detection besides its classes: of its box, and of keypoints.
_COLUMN = re.compile(r"box\.(x0|y0|x1|y1|width|height|cx|cy)|[a-z0-9_]+\.(x|y|visible)")


@dataclass(frozen=True)
class Box:
    """A box: its corners (x0, y0) and (x1, y1) in pixels, x to the right and y downwards.

    For photos they are the photo's own pixels, for arrays those of the model's input.

    Raises:
        InputError: a corner is not finite, or the box is empty.

    Example:
        >>> Box(10, 20, 110, 70).width
        100.0
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not isfinite(value):
                raise InputError(f"Box: {name} is a finite number of pixels; found {value!r}.")
            object.__setattr__(self, name, float(value))
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise InputError(f"Box: ({self.x0}, {self.y0}) to ({self.x1}, {self.y1}) is empty; give x0 < x1, y0 < y1.")

    @property
    def width(self) -> float:
        """x1 - x0, in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """y1 - y0, in pixels."""
        return self.y1 - self.y0

    def iou(self, other: Box) -> float:
        """The intersection over the union with another box, 0..1."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / (self.width * self.height + other.width * other.height - shared)


#: Where in the output: a position of a sequence, a row and column of a map, a mask [h,w], a box, or a word.
At = int | tuple[int, int] | NDArray[Any] | Box | Literal["best", "own", "all"] | None


@dataclass(frozen=True, eq=False)
class Target:
    """Which number of the output is explained.

    - ``of``: a class index or label, or another named number of a detection: "box.x0", "box.y0", "box.x1", "box.y1",
      "box.width", "box.height", "box.cx", "box.cy", or the place of a keypoint ("nose.x", "nose.y"), in pixels of the
      model's input; None: the predicted class.
    - ``at``: where, for outputs with places: a step of a sequence (negative ones count from the end), (row, column) or
      a mask [h,w] of a map, a :class:`Box` of a detector, "best" (the surest detection), "own" (where the class is the
      predicted one), "all" (the sum over all places). None: "best" for detectors, "own" for segmentations.
    - ``versus``: rather than what, a class or another Target: the score is the difference of the two.
    - ``like``: a reference vector [D], in the place of ``of`` and ``at``: the score is the cosine of the output with
      it.
    - ``output``: the name of the output, where there are several.
    - ``weights``: an array shaped like the output of one sample, in the place of everything else: the score is the sum
      of the output times ``weights`` (a vector-Jacobian product).

    Raises:
        TargetError: fields contradict each other, or have a type that they cannot have.

    Example:
        >>> Target("tabby", versus="lynx")
        Target(of='tabby', versus='lynx')
    """

    of: int | str | None = None
    at: At = None
    versus: int | str | Target | None = None
    like: NDArray[Any] | Sequence[float] | None = None
    output: str | None = None
    weights: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.like is not None and any(v is not None for v in (self.of, self.at, self.weights)):
            raise TargetError("Target: like= takes the place of of=, at= and weights=; give it alone, or with versus=.")
        if self.weights is not None and any(v is not None for v in (self.of, self.at, self.versus)):
            raise TargetError("Target: weights= takes the place of of=, at= and versus=; give it alone.")
        if isinstance(self.at, str) and self.at not in _WORDS:
            raise TargetError(
                f"Target: at={self.at!r} is none of 'best', 'own' and 'all'; a place is a number, a mask or a Box."
            )
        if isinstance(self.of, bool) or not (self.of is None or isinstance(self.of, (int, str, np.integer))):
            raise TargetError(f"Target: of= is a class index or a label; found {self.of!r}.")
        if self.output is not None and not isinstance(self.output, str):
            raise TargetError(f"Target: output= is the name of an output; found {self.output!r}.")
        self._check_column()

    def _check_column(self) -> None:
        """Refuse what only classes have of the named numbers of a detection."""
        if self.column is not None and (self.versus is not None or (isinstance(self.at, str) and self.at == "own")):
            raise TargetError(
                f"Target: {self.of!r} is a number of a detection and no class: it has no versus= and no at='own'."
            )
        self._check_versus()

    def _check_versus(self) -> None:
        if self.like is not None and self.versus is not None and getattr(self.versus, "like", None) is None:
            raise TargetError(
                f"Target: like= is compared with another reference, versus=Target(like=...); found {self.versus!r}."
            )
        other = self.versus.output if isinstance(self.versus, Target) else None
        if other is not None and other != self.output:
            raise TargetError(
                f"Target: versus= is of the output {other!r}, the target itself of {self.output or 'the usual one'!r}; "
                "both are of one output: name it with output=, once."
            )
        if (name := _compared(self.versus)) is not None:
            raise TargetError(f"Target: versus={name!r} is a number of a detection; versus= is a class.")

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in ("of", "at", "versus", "like", "output", "weights")}
        fields = [f"{name}={_short(value)}" for name, value in shown.items() if value is not None]
        return f"Target({', '.join(fields)})"

    @property
    def column(self) -> str | None:
        """The number of a detection that ``of`` names; None if it names a class."""
        return self.of if isinstance(self.of, str) and _COLUMN.fullmatch(self.of) else None

    @property
    def kind(self) -> Kind:
        """What of this target decides the graph."""
        if self.weights is not None:
            return Kind(form="weights")
        form: Literal["class", "like"] = "class" if self.like is None else "like"
        versus = self.versus
        other: Kind | Literal["class"] | None = None
        if isinstance(versus, Target):
            simple = versus.at is None and versus.like is None and versus.versus is None
            other = "class" if simple and form == "class" else versus.kind
        elif versus is not None:
            other = "class"
        return Kind(form, place_of(self.at), other, self.column)


@dataclass(frozen=True)
class Kind:
    """Of a target only what decides the graph: its values are inputs at run time.

    - ``form``: "class", "like" (a cosine), or "weights" (a weighted sum of the whole output).
    - ``place``: how the place is given or found.
    - ``versus``: what is subtracted: "class", another class at the same place; or another kind with inputs of its own.
    - ``column``: the number of a detection that is explained, in the place of its classes.
    """

    form: Literal["class", "like", "weights"] = "class"
    place: Place = None
    versus: Kind | Literal["class"] | None = None
    column: str | None = None


#: A target as users give it: None for the predicted class, an index, a label, "top3", a Target, or one for each sample.
TargetLike = int | np.integer[Any] | str | Target | Sequence[int | str | Target] | NDArray[np.integer[Any]] | None

#: The kind of a target that is None: a class, at the usual place.
CLASS = Kind()


def place_of(at: At) -> Place:
    """How a place reaches the graph.

    Raises:
        TargetError: it is no place.
    """
    if at is None:
        return None
    if isinstance(at, str):
        return at
    if isinstance(at, Box):
        return "box"
    if isinstance(at, (int, np.integer)) and not isinstance(at, bool):
        return "position"
    if isinstance(at, (tuple, list, np.ndarray)):
        return "region"
    raise TargetError(
        f"Target: at= is a position, a (row, column), a mask, a Box or a word; found {type(at).__name__}."
    )


def _compared(versus: int | str | Target | None) -> str | None:
    """The number of a detection that ``versus`` names, if it names one."""
    found = versus if isinstance(versus, Target) else Target(versus) if isinstance(versus, str) else None
    return None if found is None else found.column


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"<array {list(value.shape)}>"
    return repr(value) if not isinstance(value, (list, tuple)) or len(value) < 5 else f"<{len(value)} numbers>"
