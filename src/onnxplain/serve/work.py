"""The work itself, which knows no server: from photos and arrays to answers, by one loaded model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OnnxplainError, StoppedError
from ..methods import METHODS, Method, find_method
from ..photos import load_image
from ..pictures import heatmap
from ..pictures.render import encode
from ..pipeline.samples import Sample, SampleAnswer, SampleExplainer
from ..results.explanation import PICTURES, Explanation, check_picture
from ..runtime import Stop, stoppable
from ..runtime.workers import cores
from ..target import CLASS, Kind, Target
from .settings import COUNTS
from .targets import Question, TargetReader

if TYPE_CHECKING:
    from ..explainer import Explainer
    from ..photos import Geometry

Array = NDArray[Any]

#: What may be asked for. The facts (class, label, score, probability) come with every answer.
OUTPUTS = ("score", "saliency", "gradient", "png")
#: Seconds for the runs of :meth:`Worker.warm`.
_WARMING = 3.0
#: Options of methods by the words of their types -> the values in JSON that they take.
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "None": (type(None),),
    "Extents": (int, list),
    "Baseline": (int, float, str),
}


@dataclass(frozen=True)
class Entry:
    """One sample of an order: the bytes of a photo's file, or all inputs of the model; and its target in JSON."""

    photo: bytes | None = None
    inputs: Mapping[str, Array] | None = None
    target: Any = None


@dataclass(frozen=True)
class Order:
    """What one request wants to know.

    ``drawing`` are ``picture`` (a kind) and options of it; ``outputs`` are those of :data:`OUTPUTS` that are wanted.
    """

    entries: Sequence[Entry]
    method: str = "saliency"
    options: Mapping[str, Any] = field(default_factory=dict)
    outputs: frozenset[str] = frozenset({"score"})
    drawing: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What one order may ask: methods by name, pixels of a photo, samples, and copies of each that a method makes."""

    methods: Sequence[str] = tuple(METHODS)
    max_pixels: int = 50_000_000
    max_batch: int = 32
    max_samples: int = 200

    def check_samples(self, count: int) -> None:
        """Refuse a request of no samples, or of too many.

        Raises:
            InputError: it is one.
        """
        if not 0 < count <= self.max_batch:
            raise InputError(f"a request holds 1 to {self.max_batch} samples; found {count}.")


@dataclass(frozen=True)
class Prepared:
    """A sample of an order that is ready to run: one for each of its targets.

    ``photo``: its file; ``image``: the pixels of that where they are drawn, unless the request has too many of them.
    ``key``: samples of one key may run together; ``most``: so many at once; ``long``: it takes many runs of the model,
    or the model is to be differentiated for a question that nobody has asked before.
    """

    sample: Sample
    photo: bytes | None
    image: NDArray[np.uint8] | None
    key: Hashable
    most: int
    run: SampleExplainer
    long: bool


@dataclass(frozen=True)
class Answer:
    """What an order gets for one class of one sample; ``png`` is a picture's file, ``crop`` what the model saw."""

    found: SampleAnswer
    geometry: Geometry | None
    png: bytes | None


class Worker:
    """Answers orders by one model: :meth:`prepare`, then run what came of it, in whatever batches, then :meth:`finish`.

    All three may be called from several threads. ``observe`` is told what a step took: its name, the method, seconds.
    """

    def __init__(
        self, explainer: Explainer, limits: Limits, observe: Callable[[str, str, float], None] | None = None
    ) -> None:
        self.explainer, self.limits = explainer, limits
        self._observe = observe or (lambda step, method, seconds: None)
        self._known: set[tuple[str, Kind]] = set()
        self._reader = TargetReader(explainer.embed, max_pixels=limits.max_pixels, most=limits.max_batch)

    def prepare(self, order: Order) -> list[list[Prepared]]:
        """Return the samples of an order, decoded and checked; for each entry one for each target.

        Raises:
            OnnxplainError: with what is wrong, and in which entry.
        """
        began = time.perf_counter()
        self.limits.check_samples(len(order.entries))
        method = self._method(order)
        found: list[list[Prepared]] = []
        asked = kept = 0
        for number, entry in enumerate(order.entries):
            try:
                question = self._reader.question(entry.target, asked)
                asked += question.answers
                several = self._prepared(order, entry, question, method)
            except OnnxplainError as error:
                if len(order.entries) == 1:
                    raise
                raise type(error)(f"sample {number}: {error}") from None
            pixels = 0 if several[0].image is None else several[0].image[..., 0].size
            if "png" in order.outputs and kept + pixels <= self.limits.max_pixels:
                kept += pixels
            else:  # read again when it is drawn: a small file may hold many pixels
                several = [replace(one, image=None) for one in several]
            found.append(several)
        self._observe("read", method.name, time.perf_counter() - began)
        return found

    def finish(self, order: Order, prepared: Sequence[Prepared], found: Sequence[list[SampleAnswer]]) -> list[Answer]:
        """Return the answers about one entry, drawn if that is wanted.

        Raises:
            InputError: a kind of picture, or an option of it, that the method or the sample does not have.
        """
        began = time.perf_counter()
        self._known.update((order.method, replace(one.sample.target.kind, place=None)) for one in prepared)
        answers = []
        for one, answer in ((one, answer) for one, several in zip(prepared, found) for answer in several):
            png = encode(self._picture(order, one, answer)) if "png" in order.outputs else None
            answers.append(Answer(answer, one.sample.geometry, png))
        if "png" in order.outputs:
            self._observe("draw", order.method, time.perf_counter() - began)
        return answers

    def warm(self) -> None:
        """Load what the first requests would wait for: sessions for scores, for one map, and for several at once.

        Runs of a large model end after a few seconds. A model whose input has an open extent is left to its first
        request.
        """
        feeds: dict[str, Array] = {}
        for one in self.explainer.inputs:
            shape = [extent for extent in one.shape[1:] if isinstance(extent, int)]
            if self.shared or len(shape) != len(one.shape) - 1:
                return
            feeds[one.name] = np.zeros((1, *shape), one.dtype)
        method = find_method("saliency", {})
        stop = Stop()
        timer = threading.Timer(_WARMING, stop.stop)
        timer.start()
        for samples in (1, min(cores(), self.limits.max_batch)):
            for maps in (True, False):
                with suppress(StoppedError), stoppable(stop):
                    self.explainer.sample_explainer(method, maps=maps)([Sample(feeds, Target())] * samples)
        timer.cancel()
        self._known.add((method.name, CLASS))

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs."""
        return tuple(one.name for one in self.explainer.inputs)

    @cached_property
    def shared(self) -> frozenset[str]:
        """Those of them that have no batch axis."""
        return self.explainer.sample_explainer(find_method("saliency", {})).shared

    def _method(self, order: Order) -> Method:
        """The method of an order.

        Raises:
            InputError: it is unknown or not allowed, has no such option, or asks for too much.
        """
        if order.method not in self.limits.methods:
            raise InputError(
                f"method {order.method[:40]!r} is not offered; there are {', '.join(self.limits.methods)}."
            )
        types = {one.name: one.type for one in fields(METHODS[order.method])}
        for name, value in order.options.items():
            if name in types and not _fits(value, str(types[name])):
                raise InputError(f"option {name!r} of {order.method!r} cannot be {str(value)[:40]!r}.")
        method = find_method(order.method, order.options)
        count = _copies(method)
        if count > self.limits.max_samples:
            raise InputError(
                f"{order.method!r} makes {count} copies of a sample; at most {self.limits.max_samples} are allowed."
            )
        return method

    def _prepared(self, order: Order, entry: Entry, question: Question, method: Method) -> list[Prepared]:
        image, geometry = None, None
        if entry.photo is not None:
            image = self._decoded(entry.photo)
            tensor, geometry = self.explainer.preprocessing.preprocessing.apply(image)
            feeds = {self.inputs[0]: tensor[None]}
        elif entry.inputs is not None:
            feeds, samples = self.explainer.check_inputs(entry.inputs)
            if samples != 1:
                raise InputError(f"each sample has a batch axis of 1; found {samples}.")
        else:
            raise InputError("there is neither a photo nor an array.")
        maps = not order.outputs.isdisjoint({"saliency", "png"})
        run = self.explainer.sample_explainer(
            method, top=question.top, maps=maps, gradients="gradient" in order.outputs
        )
        shapes = tuple((name, array.shape, array.dtype.str) for name, array in sorted(feeds.items()))
        kind = (repr(method), run.top, run.maps, run.gradients, shapes, geometry is None)
        copies = _copies(method) if run.maps or run.gradients else 1
        most = max(self.limits.max_batch // copies, 1)
        many = copies > 1 or method.name in ("occlusion", "rise")
        prepared = []
        for target in question.targets:
            sample = Sample(feeds, target, geometry)
            asked = replace(target.kind, place=None)
            key = (kind, asked, target.output) if run.joins else object()
            long = many or target.output is not None or (method.name, asked) not in self._known
            prepared.append(Prepared(sample, entry.photo, image, key, most if run.joins else 1, run, long))
        return prepared

    def _decoded(self, file: bytes) -> NDArray[np.uint8]:
        return load_image(file, max_pixels=self.limits.max_pixels)

    def _picture(self, order: Order, prepared: Prepared, answer: SampleAnswer) -> NDArray[np.uint8]:
        options = dict(order.drawing)
        kind = options.pop("picture", None)
        if len(answer.maps) != 1:
            raise InputError("a picture shows one map, and the model has several inputs; ask for saliency.")
        [saliency], [signed] = answer.maps.values(), answer.signed.values()
        if saliency.ndim != 2:
            raise InputError(f"a map of shape {list(saliency.shape)} makes no picture; ask for saliency.")
        if prepared.photo is not None and prepared.sample.geometry is not None:
            if kind is not None and kind not in PICTURES:
                raise InputError(f"picture {str(kind)[:40]!r} is unknown; there are {', '.join(PICTURES)}.")
            explanation = Explanation(
                image=self._decoded(prepared.photo) if prepared.image is None else prepared.image,
                source=None,
                attribution=saliency,
                saliency_input=saliency,
                signed_input=signed,
                geometry=prepared.sample.geometry,
                **answer.facts,
                **answer.place,
            )
            return explanation.picture(kind or "overlay", **options)
        if kind not in (None, "heatmap"):
            raise InputError("arrays are drawn as a heatmap; send the photo for other pictures.")
        check_picture(["heatmap"], options)
        shown = signed if options.get("signed") else saliency
        if shown is None:
            raise InputError(f"the sign of {order.method!r} maps says nothing; leave out signed.")
        return heatmap(shown, **options)


def _copies(method: Method) -> int:
    """How many copies of a sample a method runs."""
    return max((int(getattr(method, name, 1)) for name in COUNTS), default=1)


def _fits(value: object, annotation: str) -> bool:
    """Whether a value of JSON may be an option with a type that is written so."""
    kinds = [_TYPES[word] for word in annotation.split(" | ") if word in _TYPES]
    if isinstance(value, bool):
        return any(bool in kind for kind in kinds)
    if isinstance(value, list):
        return any(list in kind for kind in kinds) and len(value) <= 4 and all(type(one) is int for one in value)
    return any(isinstance(value, kind) for kind in kinds)
