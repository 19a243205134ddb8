"""From classes, or neurons, to their pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from ..errors import InputError, TargetError
from ..model.attributor import Attributor
from ..model.classes import ClassTarget
from ..model.ranking import ClassScore, rank_classes
from ..photos import Preprocessing
from ..progress import track
from ..runtime import frames_of_the_package
from ..target import Kind
from .ascent import Step, ascend
from .objective import Objective
from .result import ClassVisualization, ConvergenceWarning
from .settings import Settings, find_settings

_TOP = 5


@dataclass(frozen=True)
class Drawing:
    """How pictures are made.

    - ``preset``: its name; ``settings``: those of the preset, changed as wanted.
    - ``seed``: of everything random; a class has the same picture whatever others are made with it.
    - ``size``: (height, width), or one side of a square; None is the model's.
    - ``every``: keep the image of every k-th step, and the last; None keeps none.
    - ``progress``: a bar on stderr; None: in terminals only.
    """

    preset: str
    settings: Settings
    seed: int = 0
    size: int | tuple[int, int] | None = None
    every: int | None = None
    progress: bool | None = None

    @classmethod
    def of(cls, preset: str, options: Mapping[str, Any]) -> Drawing:
        """Sorts options by their names: those above, and those of :class:`~.settings.Settings`.

        Raises:
            InputError: no such preset or option, or a value that makes no sense.
        """
        own = {name: value for name, value in options.items() if name in ("seed", "size", "every", "progress")}
        return cls(preset, find_settings(preset, {n: v for n, v in options.items() if n not in own}), **own)

    def __post_init__(self) -> None:
        for name, value, least in (("seed", self.seed, 0), ("every", self.every, 1)):
            if value is not None:
                check_count(name, value, least)

    def generator(self, target: int) -> np.random.Generator:
        """Return the source of what is random in the picture of one class."""
        return np.random.default_rng([self.seed, target])


def draw_classes(
    attributor: Attributor, preprocessing: Preprocessing, target: ClassTarget, preset: str, options: Mapping[str, Any]
) -> ClassVisualization | list[ClassVisualization]:
    """Return the picture of a class, or a list of those of several; see :meth:`onnxplain.Explainer.visualize_class`."""
    if attributor.signature.places is not None:
        raise InputError(
            f"a picture is made of a class, and {attributor.signature.score_tensor!r} has scores of classes at several "
            "places; make one of a channel, visualize_neuron('TENSOR:CHANNEL')."
        )
    one = target is None or isinstance(target, str) or np.ndim(target) == 0
    names: list[Any] = [target] if one else list(target)  # type: ignore[arg-type]
    artist = _Artist(attributor, preprocessing, Drawing.of(preset, options))
    for name in names:
        if name is None or artist.classes.top(name) is not None:
            raise TargetError(f"a picture is made of a class that is named, found {name!r}; give an index or a label.")
    found = artist.draw([int(artist.classes.indices(name, 1)[0]) for name in names])
    return found[0] if one else found


def draw_neurons(
    attributor: Attributor,
    preprocessing: Preprocessing,
    neuron: str | Sequence[str],
    preset: str,
    options: Mapping[str, Any],
) -> ClassVisualization | list[ClassVisualization]:
    """Return the picture of a neuron, or a list for several; see :meth:`onnxplain.Explainer.visualize_neuron`."""
    drawing = Drawing.of(preset, options)
    names = [neuron] if isinstance(neuron, str) else list(neuron)
    found = []
    for name in names:
        tensor, channel = _parse_neuron(name)
        everywhere = Kind("class", "all")
        inner = attributor.variant(
            target=everywhere, tensor=tensor, score="probability", class_axis=None, values=(tensor,)
        )
        artist = _Artist(inner, preprocessing, drawing, tensor=tensor)
        found += artist.draw([int(artist.classes.indices(channel, 1)[0])])
    return found[0] if isinstance(neuron, str) else found


@dataclass
class _Record:
    """What is kept of the ascent of one batch of classes."""

    targets: NDArray[np.int64]
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    frames: list[list[NDArray[np.uint8]]] = field(default_factory=list)
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    last: Step | None = None


class _Artist:
    """Makes the pictures of classes of one model, or of the channels of its inner tensor ``tensor``."""

    def __init__(
        self, attributor: Attributor, preprocessing: Preprocessing, drawing: Drawing, tensor: str | None = None
    ) -> None:
        self._objective = Objective(attributor, preprocessing)
        self._drawing, self._tensor = drawing, tensor
        self._shape = (preprocessing.channel_count, *_size(attributor, preprocessing, drawing.size))
        self._input = attributor.inputs[0].name
        classes = attributor.known_classes(self._feeds())
        self.classes = classes if tensor is None else replace(classes, labels=None)

    def draw(self, targets: Sequence[int]) -> list[ClassVisualization]:
        """Return the pictures of classes, in batches as large as the model's."""
        size = max(1, self._objective.attributor.session.size(self._feeds()) // self._drawing.settings.views)
        records = [_Record(np.array(targets[n : n + size], np.int64)) for n in range(0, len(targets), size)]
        steps = ((record, step) for record in records for step in self._ascend(record.targets))
        for record, step in track(steps, len(records) * self._drawing.settings.steps, show=self._drawing.progress):
            self._keep(record, step)
        return [picture for record in records for picture in self._results(record)]

    def _ascend(self, targets: NDArray[np.int64]) -> Iterator[Step]:
        generators = [self._drawing.generator(int(target)) for target in targets]
        return ascend(self._objective, targets, self._shape, self._drawing.settings, generators)

    def _keep(self, record: _Record, step: Step) -> None:
        record.scores.append(step.scores)
        number, every = len(record.scores), self._drawing.every
        last = number == self._drawing.settings.steps
        if last or (every is not None and number % every == 0):
            record.last = step
            record.pictures = [self._objective.pixels(image) for image in step.images]
            record.frames += [] if every is None else [record.pictures]

    def _results(self, record: _Record) -> Iterator[ClassVisualization]:
        images = np.stack([self._objective.image(picture) for picture in record.pictures])
        final = self._objective.evaluate(images, record.targets)
        assert record.last is not None
        settings, inputs = asdict(self._drawing.settings), self._objective.tensor(record.last.images)
        settings = {"preset": self._drawing.preset, "seed": self._drawing.seed, **settings}
        probability = self._objective.attributor.signature.probability if self._tensor is None else None
        for row, picture in enumerate(record.pictures):
            ranking = rank_classes(final.class_scores[row], probability, self.classes)
            mine = ranking.of(int(record.targets[row]))
            converged = None if record.last.converged is None else bool(record.last.converged[row])
            if converged is False:
                self._warn(mine)
            yield ClassVisualization(
                image=picture,
                input=inputs[row : row + 1],
                converged=converged,
                target=mine.index,
                label=mine.label if self._tensor is None else f"{self._tensor}:{mine.index}",
                scores=np.array([scores[row] for scores in record.scores]),
                score=mine.score,
                probability=mine.probability,
                top=ranking.best(_TOP),
                settings=settings,
                frames=[frame[row] for frame in record.frames],
            )

    def _warn(self, what: ClassScore) -> None:
        name = what.name if self._tensor is None else f"{self._tensor}:{what.index}"
        warnings.warn(
            f"the ascent for {name} did not converge in {self._drawing.settings.steps} steps: another image has a "
            "higher score with its penalty taken off. Take more steps, or a larger l2.",
            ConvergenceWarning,
            frames_of_the_package(),
        )

    def _feeds(self) -> Mapping[str, NDArray[Any]]:
        """Return one empty image."""
        return {self._input: self._objective.tensor(np.zeros((1, *self._shape)))}


def _size(
    attributor: Attributor, preprocessing: Preprocessing, wanted: int | tuple[int, int] | None
) -> tuple[int, int]:
    """Height and width of the picture.

    Raises:
        InputError: the model fixes another size, or none is known.
    """
    shape = attributor.inputs[0].shape
    axes = (1, 2) if preprocessing.layout == "NHWC" else (2, 3)
    stated = preprocessing.output_size
    sides = (None, None) if wanted is None else (wanted, wanted) if isinstance(wanted, int) else tuple(wanted)
    found = []
    for number, (name, axis) in enumerate(zip(("height", "width"), axes)):
        fixed = shape[axis] if isinstance(shape[axis], int) else None
        side = sides[number] if sides[number] is not None else fixed or (None if stated is None else stated[number])
        if side is None:
            raise InputError("neither the model nor its preprocessing states the size of an image; give size=.")
        if isinstance(side, bool) or not isinstance(side, int) or side < 1 or (fixed is not None and side != fixed):
            only = "a whole number above 0" if fixed is None else f"{fixed}, which the model fixes"
            raise InputError(f"the {name} of the picture is {only}; found {side!r}.")
        found.append(side)
    return found[0], found[1]


def _parse_neuron(name: str) -> tuple[str, int]:
    """Return the tensor and the channel of "tensor:channel"; the tensor's own name may hold colons.

    Raises:
        InputError: it is not such a name.
    """
    tensor, _, channel = name.rpartition(":")
    if not tensor or not channel.strip().isdigit():
        raise InputError(f"a neuron is named tensor:channel, such as relu4:12; found {name!r}.")
    return tensor, int(channel)
