"""The question as options: which class, where, rather than which, similar to which photo, of which output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from ..errors import InputError
from .common import target_of, whole_number
from .signatures import Option

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..target import At, Box, Target

    Asked: TypeAlias = int | str | Target | None

_WORDS = ("best", "own", "all")


@dataclass(frozen=True)
class QuestionOptions:
    """The options that make the targets of a command; see :class:`~onnxplain.Target`."""

    target: Annotated[
        list[str] | None,
        Option("--target", "-t", help="A class index or label, or top3; repeatable. Default: the predicted class."),
    ] = None
    at: Annotated[
        str | None,
        Option(
            "--at",
            help="Where in the output: best, own, all, a step, ROW,COLUMN, box:X0,Y0,X1,Y1 or a mask's file.",
            metavar="PLACE",
        ),
    ] = None
    versus: Annotated[
        str | None, Option("--versus", help="Rather than this class: explain the difference.", metavar="CLASS")
    ] = None
    like: Annotated[
        Path | None,
        Option("--like", help="A photo: explain what makes the model's vector similar to its.", metavar="PHOTO"),
    ] = None
    model_output: Annotated[
        str | None,
        Option("--model-output", help="The output to explain, where there are several.", metavar="NAME"),
    ] = None

    def check(self) -> None:
        """Refuse what makes no question, before a model is loaded.

        Raises:
            InputError: options that exclude each other, a place that is none, or a file that does not exist.
        """
        if self.like is not None and (self.target or self.at is not None or self.versus is not None):
            raise InputError("--like takes the place of --target, --at and --versus; give it alone.")
        if self.like is not None and not self.like.is_file():
            raise InputError(f"--like: {self.like} does not exist; name a photo.")
        if self.at is not None:
            place_of_text(self.at)

    def targets(self, explainer: Explainer) -> list[Asked]:
        """Return the targets, without doubles; the predicted class where there are none.

        Raises:
            InputError: as for :meth:`check`.
            TargetError: they contradict each other.
        """
        from ..target import Target

        if self.like is not None:
            return [Target(like=explainer.embed(self.like), output=self.model_output)]
        classes: Sequence[int | str | None] = (
            list(dict.fromkeys(target_of(text) for text in self.target)) if self.target else [None]
        )
        if self.at is None and self.versus is None and self.model_output is None:
            return list(classes)
        at = None if self.at is None else place_of_text(self.at)
        versus = None if self.versus is None else target_of(self.versus)
        return [Target(one, at=at, versus=versus, output=self.model_output) for one in classes]


def place_of_text(text: str) -> At:
    """The place that ``--at`` names.

    Raises:
        InputError: it is none.
    """
    wanted = text.strip()
    if wanted in _WORDS:
        return wanted  # type: ignore[return-value]
    if wanted.startswith("box:"):
        return _box(wanted)
    parts = wanted.split(",")
    numbers = [number for number in map(whole_number, parts) if number is not None]
    if len(numbers) == len(parts) == 1:
        return numbers[0]
    if len(numbers) == len(parts) == 2:
        return numbers[0], numbers[1]
    if Path(wanted).is_file():
        import numpy as np

        from ..photos import load_mask

        mask = load_mask(Path(wanted))
        if not mask.any():
            raise InputError(f"--at: the mask {wanted} is black or transparent everywhere; what is meant is white.")
        found: At = mask.astype(np.float32)
        return found
    raise InputError(
        f"--at: {text!r} is no place: it is best, own, all, a step (7), ROW,COLUMN (120,64), box:X0,Y0,X1,Y1, or the "
        "file of a mask."
    )


def kind_of(target: str | None, at: str | None, versus: bool, like: bool) -> Target | str | None:
    """The target whose kind the options of ``differentiate`` name; its values are inputs of the written file.

    Raises:
        InputError: there is no such place.
        TargetError: the options contradict each other.
    """
    from ..target import Box, Target

    column = target is not None and Target(target).column is not None
    if at is None and not versus and not like and not column:
        return target
    if target is not None and not column:
        raise InputError(f"--target {target} takes the place of --at, --versus and --like; give it alone.")
    values: dict[str, At] = {"position": 0, "region": (0, 0), "box": Box(0, 0, 1, 1), **{w: w for w in _WORDS}}  # type: ignore[misc]
    if at is not None and at not in values:
        raise InputError(f"--at: {at!r} is no kind of place; there are {', '.join(values)}.")
    place = None if at is None else values[at]
    if like:
        return Target(at=place, like=[1.0], versus=Target(like=[1.0]) if versus else None)
    return Target(target, at=place, versus=0 if versus else None)


def _box(text: str) -> Box:
    from ..target import Box

    try:
        x0, y0, x1, y1 = (float(part) for part in text.removeprefix("box:").split(","))
    except ValueError:
        raise InputError(f"--at: {text!r} is no box; give its four sides in pixels, box:X0,Y0,X1,Y1.") from None
    return Box(x0, y0, x1, y1)
