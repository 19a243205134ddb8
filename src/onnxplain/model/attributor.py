"""A differentiated model in ONNX Runtime: class scores and raw attributions, micro-batch by micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError, ProviderError
from ..runtime import BatchedSession, Plan
from ..signature import Gradient, InputTensor, Signature
from ..target import Kind
from .attribution import Attribution, picked
from .classes import Classes
from .loading import ModelLoader
from .ranking import probabilities
from .shared import SharedFeeds

if TYPE_CHECKING:
    from ..autodiff.landmarks.attention_maps import AttentionMaps
    from ..autodiff.landmarks.feature_maps import FeatureMap

Array = NDArray[Any]
T = TypeVar("T")


class Attributor:
    """A model with its sessions, its classes, the gradients that have the batch axis, and the inputs they come from.

    - ``signature``: describes the model; ``session`` runs it.
    - ``classes``: as the signature and the labels state them; :meth:`known_classes` also knows how many there are.
    - ``gradients``: those whose input has the batch axis; ``gradient_axes``: the tensors that they belong to, in their
      order, each with its channel axis, None where it has none.
    - ``perturbed``: the inputs that methods without gradients change; ``input_axes``: their channel axes by name.
    - ``batched``: the names of all inputs with a batch axis, those of the question included.

    None of these change, so that several threads may use one attributor.
    """

    def __init__(
        self,
        signature: Signature,
        session: BatchedSession,
        labels: Sequence[str] | None,
        *,
        loader: ModelLoader,
        channel_axis: int | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Take what ``loader.open("gradients", **changes)`` returned; of a model without gradients, "scores".

        ``channel_axis`` is that of all gradients and inputs, None where the graph tells.

        Raises:
            ModelError: no input that is explained has the batch axis of the score.
            InputError: ``channel_axis`` is not one.
        """
        self.signature, self.session = signature, session
        self.classes = Classes(signature.classes, labels)
        self.gradients = [g for g in signature.gradients if g.source in signature.batched]
        self.perturbed = [i for i in self.inputs if i.name in signature.perturbed and i.name in signature.batched]
        if not self.perturbed:
            names = ", ".join(repr(i.name) for i in self.inputs)
            raise ModelError(f"no input ({names}) has the batch axis of the score; export the model with one.")
        self.gradient_axes = {g.wrt: _axis(g, g.wrt, g.rank, channel_axis) for g in self.gradients}
        self.input_axes = {i.name: _axis(i, i.name, len(i.shape), channel_axis) for i in self.perturbed}
        self.batched = signature.batched | set(signature.target_inputs.values())
        self._loader, self._changes, self._channel_axis = loader, changes or {}, channel_axis
        self._lock, self._class_lock = RLock(), Lock()
        self._known_classes = self.classes if self.classes.count is not None else None
        self._variants: dict[tuple[tuple[str, Any], ...], Attributor] = {}
        self._feature_maps: dict[tuple[str, str | None], FeatureMap] = {}
        self._attention: dict[str, AttentionMaps] = {}

    @property
    def inputs(self) -> tuple[InputTensor, ...]:
        """The model's inputs."""
        return self.signature.inputs

    @property
    def provider(self) -> str:
        """The execution provider that runs the model, by its name in ONNX Runtime."""
        return self.session.provider

    @property
    def _forward(self) -> BatchedSession:
        with self._lock:
            return self._scores

    @cached_property
    def _scores(self) -> BatchedSession:
        return self._loader.open("scores", **self._changes)[1] if self.signature.gradients else self.session

    def variant(self, **changes: Any) -> Attributor:
        """Return the same model differentiated otherwise; it is loaded once for each set of ``changes``.

        Args:
            changes: ``wrt`` (names of inputs or inner tensors), ``rules`` (a tuple of (operator, rule) pairs that
                take the place of the usual ones, or the name of a set of them), ``values`` (a tuple of inner tensors
                whose values are wanted), ``cut`` (a tuple of inner tensors that become inputs), ``written_out``
                (fused attention in operators of its own). They come on top of the changes that this model has already.

        Raises:
            InputError: the model came differentiated, so that nothing can be changed any more.
        """
        key = tuple(sorted(changes.items()))
        with self._lock:
            if key not in self._variants:
                self._variants[key] = self._changed(changes)
            return self._variants[key]

    def _changed(self, changes: dict[str, Any]) -> Attributor:
        if isinstance(changes.get("rules"), tuple):
            changes["rules"] = dict(changes["rules"])
        changes = {**self._changes, **changes}
        found = self._loader.open("gradients" if self.signature.gradients else "scores", **changes)
        moved = self._changes.keys() & {"wrt", "cut"} or changes.keys() & {"wrt", "cut"}
        axis = None if moved else self._channel_axis
        return Attributor(*found, self.classes.labels, loader=self._loader, channel_axis=axis, changes=changes)

    @cached_property
    def magnitudes(self) -> Attributor:
        """The same session, with the maximum over channels of every |gradient| in its place; itself if it lacks them.

        The model stated for CUDA computes them, so that no channels cross the bus when a map is all that is wanted.
        """
        if not all(g.magnitude and self.gradient_axes[g.wrt] == g.channel_axis for g in self.gradients):
            return self
        reduced = tuple(replace(g, output=g.magnitude or "", channel_axis=None) for g in self.gradients)
        signature = replace(self.signature, gradients=reduced)
        return Attributor(signature, self.session, self.classes.labels, loader=self._loader, changes=self._changes)

    def feature_map(self, gradient: Gradient, layer: str | None = None) -> FeatureMap:
        """Return the inner tensor ``layer``, or the last feature map between the source of ``gradient`` and the score.

        Raises:
            InputError: there is none, or ``layer`` is none.
        """
        key = gradient.wrt, layer
        with self._lock:
            if key not in self._feature_maps:
                self._feature_maps[key] = self._loader.forward_graph().feature_map(*key)
            return self._feature_maps[key]

    def attention(self, gradient: Gradient) -> AttentionMaps:
        """Return the attention between the source of ``gradient`` and the score.

        Its probabilities are tensors of a variant with ``written_out=True``.

        Raises:
            InputError: there is none, or its probabilities are no tensors.
        """
        with self._lock:
            if gradient.wrt not in self._attention:
                self._attention[gradient.wrt] = self._loader.forward_graph(written_out=True).attention(gradient.wrt)
            return self._attention[gradient.wrt]

    def extents(self, gradient: Gradient, feeds: Mapping[str, Array]) -> tuple[int, ...]:
        """Return the extents, without batch and channels, of the input that a gradient comes from: (H,W) for images."""
        shape = feeds[gradient.source].shape
        axis = self.input_axes[gradient.source] if gradient.rank == len(shape) else None
        return tuple(extent for at, extent in enumerate(shape) if at not in (0, axis))

    def samples(self, feeds: Mapping[str, Array]) -> int:
        """Return how many samples there are."""
        return next(len(array) for name, array in feeds.items() if name in self.signature.batched)

    def plan(self, feeds: Mapping[str, Array]) -> Plan:
        """Return how inputs shaped like ``feeds`` are run for gradients."""
        return self.session.plan(self._with_targets(feeds, np.zeros(self.samples(feeds), np.int64)))

    def split(
        self, feeds: Mapping[str, Array], targets: NDArray[np.int64], *, at_once: bool = False
    ) -> Iterator[tuple[int, dict[str, Array], NDArray[np.int64]]]:
        """Return the micro-batches for gradients: the number of the first sample, its feeds and its targets.

        ``at_once``: only as many samples as fit into memory together.
        """
        for start, part in self.session.split(self._with_targets(feeds, targets), at_once=at_once):
            yield start, part, part.pop(self.signature.target)

    def spread(
        self, function: Callable[[int, int], T], feeds: Mapping[str, Array], targets: NDArray[np.int64], count: int
    ) -> Iterator[T]:
        """Return ``function(start, end)`` of the runs for gradients that make up ``count`` samples.

        ``feeds`` and ``targets`` are shaped like those of the runs; see :meth:`BatchedSession.spread`.
        """
        return self.session.spread(function, self._with_targets(feeds, targets), count)

    def _with_targets(self, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> dict[str, Array]:
        return {**feeds, self.signature.target: targets}

    def size(self, feeds: Mapping[str, Array]) -> int:
        """Samples that one run forwards takes at best, for inputs shaped like ``feeds``."""
        return self._forward.size(feeds)

    def repeated(self, feeds: Mapping[str, Array], times: int) -> dict[str, Array]:
        """Return all samples, ``times`` times one after the other: [s0, s1, ..., s0, s1, ...]."""
        return {
            name: np.concatenate([array] * times) if name in self.batched else array for name, array in feeds.items()
        }

    @property
    def probability(self) -> str | None:
        """How the scores of a class become probabilities: "softmax", "sigmoid", "identity"; None: they do not."""
        stated = self.signature.probability
        if stated == "labelled":
            return None if self.classes.labels is None else "softmax"
        return stated

    def probabilities(self, class_scores: Array) -> NDArray[np.float64] | None:
        """The probabilities [..., K] of scores [..., K]; None where the question is not about classes alone."""
        return None if self.signature.target_inputs else probabilities(class_scores, self.probability)

    def predicted(self, class_scores: Array) -> NDArray[np.int64]:
        """The class [n] with the highest of the scores [n,K], never the blank of "ctc"."""
        places = self.signature.places
        if places is not None and places.blank is not None:
            class_scores = class_scores.copy()
            class_scores[:, places.blank] = -np.inf
        best: NDArray[np.int64] = np.argmax(class_scores, axis=1)
        return best

    def maps(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The "scores" of all classes at all places; of detectors also "boxes" [N,A,4] and "confidence" [N,A,K].

        The scores are [N, ...], with the classes on the axis that :attr:`signature.places` names.
        """
        places = self.signature.places
        if places is None:
            raise InputError("the output of the model has one score for each class, and no places.")
        named = {"scores": places.scores, "boxes": places.boxes, "confidence": places.confidence}
        names = {key: name for key, name in named.items() if name}
        if isinstance(feeds, SharedFeeds):
            with suppress(ProviderError):  # not cut in two, so that it would take the inputs of the question, too
                found = self.session.run(self._own(feeds), list(names.values()), feeds.forwards(self.session))
                return dict(zip(names, found))
        parts = [self._forward.run(part, list(names.values())) for _, part in self._forward.split(self._own(feeds))]
        return {key: np.concatenate([part[index] for part in parts]) for index, key in enumerate(names)}

    def class_scores(self, feeds: Mapping[str, Array]) -> NDArray[np.floating[Any]]:
        """Return the scores of all classes [N,K] at the place in ``feeds``, less that of the class compared with.

        Raises:
            InputError: the output has places, and ``feeds`` say none.
        """
        roles = self.signature.target_inputs
        asked = self._changes.get("target")
        if isinstance(asked, Kind) and asked.column is not None:
            raise InputError(
                f"{asked.column!r} is no class: methods that compare scores do not take it; use 'saliency', "
                "'gradient_x_input', 'grad_cam' or another of one gradient."
            )
        if self.signature.places is None:
            name = self.signature.class_scores
            parts = [self._forward.run(part, [name])[0] for _, part in self._forward.split(self._own(feeds))]
            found = np.concatenate(parts)
        else:
            if roles.get("region") not in feeds:
                extents = ", ".join(map(str, self.signature.places.extents))
                raise InputError(
                    f"the output has a score of every class at each of [{extents}] places, and not one for each class; "
                    "explain a place of it, Target(..., at=...)."
                )
            maps = self.maps(feeds)["scores"]
            found = self._within(maps, feeds[roles["region"]])
        if "contrast" in roles:
            others = found
            if "contrast_region" in roles:
                others = self._within(maps, feeds[roles["contrast_region"]])
            found = found - picked(others, feeds[roles["contrast"]])[:, None]
        return found

    def _own(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """What the forward part of the model takes of ``feeds``."""
        roles = self.signature.target_inputs
        asked = {roles[role] for role in roles if role.endswith(("reference", "cotangent"))}
        known = {i.name for i in self.inputs} | asked
        return {name: array for name, array in feeds.items() if name in known}

    def _within(self, maps: Array, region: Array) -> Array:
        """The sum of scores [N, ...] over all places, each times its weight in ``region``: [N,K]."""
        places = self.signature.places
        assert places is not None
        by_class = maps[:, None] if places.class_axis is None else np.moveaxis(maps, places.class_axis, 1)
        summed: Array = (by_class * region[:, None]).sum(axis=tuple(range(2, by_class.ndim)), dtype=by_class.dtype)
        return summed

    def attribute(self, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        """Return the gradients of one micro-batch by one forward and backward pass, and the inner tensors asked for.

        Args:
            feeds: the model's inputs, n samples. What the pass forwards leaves is kept with a
                :class:`~.shared.SharedFeeds`, and not done again.
            targets: class indices [n]; a negative one stands for the predicted class.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        count = len(self.gradients)
        outputs = [self.signature.score, self.signature.class_scores, *(g.output for g in self.gradients)]
        outputs += self.signature.tensors.values()
        forwards = feeds.forwards(self.session) if isinstance(feeds, SharedFeeds) else None
        scores, class_scores, *found = self.session.run(self._with_targets(feeds, targets), outputs, forwards)
        chosen = np.where(targets < 0, self.predicted(class_scores), targets)
        return Attribution(
            found[:count], chosen, scores, class_scores, dict(zip(self.signature.tensors, found[count:]))
        )

    def scored(self, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        """Return the classes and their scores by a forward pass alone, without attributions."""
        class_scores = self.class_scores(feeds)
        chosen = np.where(targets < 0, self.predicted(class_scores), targets)
        return Attribution([], chosen, picked(class_scores, chosen), class_scores, {})

    def attribute_with_values(
        self, feeds: Mapping[str, Array], targets: NDArray[np.int64]
    ) -> tuple[Attribution, list[Array]]:
        """Return :meth:`attribute`, and for each gradient the value of the input or inner tensor that it belongs to."""
        found = (self.variant(values=self._inner) if self._inner else self).attribute(feeds, targets)
        return found, [found.tensors[g.wrt] if g.wrt in found.tensors else feeds[g.wrt] for g in self.gradients]

    def on_floats(self, feeds: Mapping[str, Array]) -> tuple[Attributor, dict[str, Array]]:
        """Return this and ``feeds`` where all gradients belong to inputs; else what runs the model from further on.

        The gradient of an input of integers belongs to the float tensor computed from it, such as the embeddings of
        tokens. What is returned takes that tensor as an input, and what is fed has its value.

        Raises:
            InputError: the model reads an input's integers as they are, so that there is nothing between them.
        """
        attributor, fed = self, dict(feeds)
        if self._inner:
            fed |= self.variant(values=self._inner).attribute(feeds, np.zeros(self.samples(feeds), np.int64)).tensors
            attributor = self.variant(cut=self._inner, wrt=tuple(g.wrt for g in self.gradients))
        for gradient in attributor.gradients:
            if fed[gradient.wrt].dtype.kind != "f":
                raise InputError(
                    f"the model reads the integers of {gradient.wrt!r} as they are, so there is nothing between "
                    "them that this method could try; use method='saliency'."
                )
        return attributor, fed

    @property
    def _inner(self) -> tuple[str, ...]:
        """The inner tensors that gradients belong to."""
        return tuple(g.wrt for g in self.gradients if g.wrt != g.source)

    def known_classes(self, feeds: Mapping[str, Array]) -> Classes:
        """Return the classes with their number; where the shapes do not state it, ``feeds`` are run once to learn it.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        with self._class_lock:
            if self._known_classes is None:
                self._known_classes = replace(self.classes, count=int(self.class_scores(feeds).shape[1]))
            return self._known_classes

    def check_targets(self, feeds: Mapping[str, Array], targets: NDArray[np.int64], top: int | None) -> None:
        """Refuse targets [n], or a number of best classes, that the model does not have, before a class is picked.

        Raises:
            TargetError: a class is out of range, or there are fewer than ``top``.
            ProviderError: ONNX Runtime failed.
        """
        if self.classes.count is None and (top is not None or targets.max() >= 0):
            known = self.known_classes(feeds)
            known.check_count(top)
            known.indices([int(target) for target in targets if target >= 0], int((targets >= 0).sum()))


def _axis(tensor: Gradient | InputTensor, name: str, rank: int, stated: int | None) -> int | None:
    """Return the channel axis of a tensor: as stated, else as found."""
    if stated is None:
        return tensor.channel_axis
    if not -rank <= stated < rank or stated % rank == 0:
        raise InputError(f"channel_axis={stated} is not an axis of {name!r}, which has rank {rank}.")
    return stated % rank
