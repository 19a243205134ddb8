"""What is in a differentiated model: names of its inputs and outputs, channel axes, class scores.

Plain values, so that a model that was kept on disk is described without the packages that differentiate one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class InputTensor:
    """An input of the model: numpy's name of its type ("" if numpy has none), and its shape.

    Open extents are names; ``channel_axis`` is None where there is none.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    channel_axis: int | None


@dataclass(frozen=True)
class Gradient:
    """An output that holds a gradient.

    ``wrt`` is the tensor it belongs to and ``source`` the input that tensor is, or is computed from;
    ``rank`` and ``channel_axis`` are the gradient's, the axis None where it has no channels. ``magnitude`` is an output
    with the maximum over channels of its absolute value, None where the model does not compute it.
    """

    wrt: str
    source: str
    output: str
    rank: int
    channel_axis: int | None
    magnitude: str | None = None


@dataclass(frozen=True)
class Places:
    """The places of an output that has a score of every class at each of several: steps, pixels, detections.

    ``layout`` says what they are (see :mod:`onnxplain.layout`). ``scores`` is the output with all scores, [N, ...] with
    the classes on ``class_axis`` (None: one score a place) and the places, of the ``extents``, on all other axes.
    Detectors have the outputs ``boxes`` [N,A,4] and ``confidence`` [N,A,K]; "" for others. ``blank`` is the class of
    "ctc" that stands for no character.
    """

    layout: str
    scores: str
    class_axis: int | None
    extents: tuple[int | str, ...]
    boxes: str = ""
    confidence: str = ""
    blank: int | None = None


@dataclass(frozen=True)
class Signature:
    """The names that a caller needs to run a differentiated model.

    ``perturbed`` are the inputs that methods without gradients change: those that ``gradients`` come from, or, without
    any, those that were chosen. ``target`` is the input with the classes [N], ``target_inputs`` are further ones by
    what they are for ("contrast", "region", "reference" ...). ``class_scores`` is the output [N,K] of all scores at the
    place that is explained; ``classes`` is K where it is fixed; ``places`` are those of the output, None if it has
    none. ``probability`` says how scores become probabilities: "softmax", "sigmoid", "identity" (they are
    probabilities), "labelled" (by a softmax, if the classes have names), or None where that has no meaning. ``batch``
    is the fixed batch, None if it is open; ``batched`` names the inputs with a batch axis; ``influence`` is the node by
    which samples influence each other's scores, None if none is known. ``tensors`` are the inner tensors that were
    asked for, each with the output that has its value. ``weighted`` is the shape of the output of one sample whose
    weighted sum is the score (open extents are names), None for other scores.
    """

    inputs: tuple[InputTensor, ...]
    gradients: tuple[Gradient, ...]
    perturbed: tuple[str, ...]
    target: str
    target_inputs: Mapping[str, str]
    score: str
    class_scores: str
    score_tensor: str
    classes: int | None
    places: Places | None
    probability: str | None
    batch: int | None
    batched: frozenset[str]
    influence: str | None
    metadata: Mapping[str, str]
    tensors: Mapping[str, str]
    weighted: tuple[int | str, ...] | None

    @property
    def straight_through(self) -> bool:
        """Whether gradients pass the roundings of a quantised model as if they were the identity."""
        return "onnxplain.straight_through" in self.metadata

    @property
    def samples_elsewhere(self) -> dict[str, int]:
        """The inputs that have the batch on another axis than the first (states of recurrent networks), and which."""
        names = {i.shape[0] for i in self.inputs if i.name in self.batched and not isinstance(i.shape[0], int)}
        others = [i for i in self.inputs if i.name not in self.batched]
        return {i.name: axis for i in others for axis, extent in enumerate(i.shape) if extent in names}

    @property
    def whole(self) -> bool:
        """Whether samples must run together as they were given: a part of them has other scores, or does not fit."""
        return self.influence is not None or bool(self.samples_elsewhere)

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON; :meth:`from_dict` reads them back to an equal object."""
        return {**asdict(self), "batched": sorted(self.batched)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Signature:
        """Reads :meth:`to_dict`, also after JSON made lists of its tuples."""
        inputs = tuple(InputTensor(**{**one, "shape": tuple(one["shape"])}) for one in values["inputs"])
        gradients = tuple(Gradient(**one) for one in values["gradients"])
        places = values["places"]
        if places is not None:
            places = Places(**{**places, "extents": tuple(places["extents"])})
        weighted = values["weighted"]
        sets = {
            "places": places,
            "perturbed": tuple(values["perturbed"]),
            "batched": frozenset(values["batched"]),
            "weighted": None if weighted is None else tuple(weighted),
        }
        return cls(**{**values, "inputs": inputs, "gradients": gradients, **sets})
