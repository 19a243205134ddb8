"""Explanations of rows of features and of token sequences: one number for each feature or token."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..files import make_folder, write_bytes
from ..methods import METHODS, Method, find_method
from ..model.inputs import check_inputs
from ..model.ranking import ClassScore
from ..pictures import bars, bars_figure, save_image, tokens_html, tokens_image
from ..pictures.figures import encode_figure
from ..pictures.html import bar_table, data_uri, escape
from ..pipeline.attributions import only, row_attributions
from ..signature import InputTensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..model.attributor import Attributor
    from ..model.classes import Target

Array = NDArray[Any]

_PICTURES, _FIGURES = (".png", ".jpg", ".jpeg", ".webp"), (".svg", ".pdf")


@dataclass(frozen=True, repr=False)
class FeatureExplanation:
    """One row of features or one sequence of tokens, explained for one class.

    - ``names`` [F]: of the features, or the tokens; ``values`` [F]: what the model got, numbers or token ids.
    - ``attribution`` [F]: float32, positive where it speaks for the class; of methods whose sign says nothing, 0 or
      more. The unit is that of the score, or of the score for each unit of the feature for gradients.
    - ``method``, ``target``, ``label``, ``score``, ``probability``, ``top``, ``provider``, ``straight_through``,
      ``details``: as in :class:`~onnxplain.Explanation`.
    """

    names: list[str]
    values: Array
    attribution: NDArray[np.float32]
    target: int
    label: str | None
    score: float
    probability: float | None
    top: list[ClassScore]
    provider: str
    straight_through: bool
    method: str
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The class and how sure the model is of it, for people; of a model with a single output, its value."""
        if len(self.top) == 1 and self.label is None:
            return f"output {self.score:.4g}"
        return ClassScore(self.target, self.label, self.score, self.probability).title(self.straight_through)

    def bars(self, **options: Any) -> NDArray[np.uint8]:
        """The largest attributions as bars, uint8 RGB [H,W,3]; ``options``: see :func:`onnxplain.pictures.bars`."""
        return bars(self._bar_names(), self.attribution, **{"title": self.title, **options})

    def plot(self, **options: Any) -> Figure:
        """:meth:`bars` as a matplotlib figure; ``options`` are those of :func:`onnxplain.pictures.bars_figure`.

        Raises:
            RuntimeMissingError: matplotlib is not installed.
        """
        return bars_figure(self._bar_names(), self.attribution, **{"title": self.title, **options})

    def picture(self, **options: Any) -> NDArray[np.uint8]:
        """What :meth:`save` writes as a picture, uint8 RGB [H,W,3]: :meth:`bars`."""
        return self.bars(**options)

    def html(self) -> str:
        """A fragment of HTML with everything inside."""
        picture = data_uri(self.picture(), "PNG")
        return f'<img src="{picture}" alt="{escape(self.method)}: {escape(self.title)}" style="max-width:100%">'

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain values for JSON."""
        return {
            **asdict(self),
            "values": self.values.tolist(),
            "attribution": [float(value) for value in self.attribution],
            "details": dict(self.details),
        }

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write one file, whole or not at all; an existing one is replaced.

        Args:
            path: .png, .jpg, .jpeg or .webp for :meth:`picture`, .svg or .pdf for :meth:`plot`, both with ``options``;
                .html for the fragment of :meth:`html`, .json for :meth:`to_dict`.

        Raises:
            OutputError: another suffix, or the file cannot be written.
            InputError: options of a file that has none.
            RuntimeMissingError: a figure without matplotlib.
        """
        place = Path(path)
        suffix = place.suffix.lower()
        if options and suffix not in (*_PICTURES, *_FIGURES):
            raise InputError(f"{place}: only pictures have options; found {', '.join(options)}.")
        if suffix in _PICTURES:
            make_folder(place.parent)
            return save_image(place, self.picture(**options))
        if suffix in _FIGURES:
            content = encode_figure(self.plot(**options), suffix[1:])
        elif suffix == ".html":
            content = self.html().encode()
        elif suffix == ".json":
            content = (json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n").encode()
        else:
            known = ", ".join((*_PICTURES, *_FIGURES, ".html", ".json"))
            raise OutputError(f"{place}: explanations of features are written as {known}.")
        make_folder(place.parent)
        return write_bytes(place, content)

    def _bar_names(self) -> list[str]:
        return list(self.names)

    def _repr_html_(self) -> str:
        rows = [(one.name, one.probability or 0, f"{one.score:.3g}") for one in self.top]
        facts = "" if self.probability is None else bar_table(rows)
        return f"<figure style='margin:0'>{self.html()}<figcaption>{escape(self.method)}{facts}</figcaption></figure>"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.names)}: {self.title}, {self.method}>"


@dataclass(frozen=True, repr=False)
class TableExplanation(FeatureExplanation):
    """A row of features explained; its picture are bars with the values of the features."""

    def _bar_names(self) -> list[str]:
        return [f"{name} = {_short(value)}" for name, value in zip(self.names, self.values)]


@dataclass(frozen=True, repr=False)
class TokenExplanation(FeatureExplanation):
    """A sequence of tokens explained; its picture are the tokens, each on the colour of its attribution."""

    def picture(self, **options: Any) -> NDArray[np.uint8]:
        """The tokens in lines, uint8 RGB [H,W,3]; ``options`` are those of :func:`onnxplain.pictures.tokens_image`."""
        return tokens_image(self.names, self.attribution, **{"title": self.title, **options})

    def html(self) -> str:
        """The class, and the tokens as text, each on the colour of its attribution; everything inside."""
        return f"<p><strong>{escape(self.title)}</strong></p>{tokens_html(self.names, self.attribution)}"


def explain_table(
    attributor: Attributor, rows: Any, feature_names: Sequence[str] | None, target: Target, method: Method
) -> Any:
    """See :meth:`onnxplain.Explainer.explain_table`."""
    feeds, columns, one = _feeds(attributor.inputs, rows)
    check_inputs(attributor.signature, feeds)
    sources = _sources(attributor, method)
    parts = [feeds[source].reshape(len(feeds[source]), -1) for source in sources]
    values = np.concatenate(parts, axis=1)
    usual = columns or _usual_names(sources, [part.shape[1] for part in parts])
    names = usual if feature_names is None else feature_names
    if len(names) != values.shape[1]:
        raise InputError(f"there are {len(names)} names for {values.shape[1]} features; give one for each.")
    listed = [str(name) for name in names]
    return _explanations(TableExplanation, attributor, method, feeds, target, lambda row: listed, values, one)


def explain_tokens(attributor: Attributor, ids: Any, tokens: Any, target: Target, method: Method) -> Any:
    """See :meth:`onnxplain.Explainer.explain_tokens`."""
    only(method.axes(attributor))
    source = _sources(attributor, method)[0]
    feeds, _, one = _feeds(attributor.inputs, ids)
    check_inputs(attributor.signature, feeds)
    values = feeds[source]
    if values.ndim != 2:
        raise InputError(f"tokens are ids [N,T]; input {source!r} takes rank {values.ndim}.")
    if tokens is None or callable(tokens):
        listed = [[str((tokens or str)(int(token))) for token in row] for row in values]
    else:
        listed = [[str(token) for token in row] for row in ([tokens] if one else tokens)]
    if [len(row) for row in listed] != [values.shape[1]] * len(values):
        raise InputError(f"ids have the shape {list(values.shape)}; give one token for each.")
    return _explanations(TokenExplanation, attributor, method, feeds, target, listed.__getitem__, values, one)


def with_background(method: str | Method, options: Mapping[str, Any], background: Any) -> Method:
    """The method with the mean of the rows ``background`` [M,F] as its baseline, if there are any.

    Raises:
        InputError: it has no baseline, or another one was chosen already.
    """
    if background is None:
        return find_method(method, options)
    if isinstance(method, Method) or "baseline" in options:
        raise InputError("background makes the baseline: pass one of the two, and the method by its name.")
    if method in METHODS and "baseline" not in [option.name for option in fields(METHODS[method])]:
        raise InputError(f"method {method!r} has no baseline, so a background has no meaning.")
    mean = _array(background, "float64").reshape(len(background), -1).mean(axis=0)
    return find_method(method, {**options, "baseline": mean})


def _explanations(
    kind: type[FeatureExplanation],
    attributor: Attributor,
    method: Method,
    feeds: Mapping[str, Array],
    target: Target,
    names: Callable[[int], list[str]],
    values: Array,
    one: bool,
) -> Any:
    """One explanation for each row, or a list of them by class in its place; that of the row itself if it is one."""
    found: list[Any] = []
    for row, ranked in enumerate(row_attributions(attributor, method, feeds, target)):
        shown = [kind(names(row), values[row], attribution, **facts) for attribution, facts in ranked]
        found.append(shown[0] if attributor.classes.top(target) is None else shown)
    return found[0] if one else found


def _sources(attributor: Attributor, method: Method) -> list[str]:
    """The inputs that the explained tensors are, or are computed from."""
    sources = {gradient.wrt: gradient.source for gradient in attributor.gradients}
    return [sources.get(name, name) for name in method.axes(attributor)]


def _usual_names(sources: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Numbers for the features of one input; the names of several, with numbers where one has more features."""
    shown = ["feature"] if len(sources) == 1 else sources
    return [
        name if width == 1 and len(sources) > 1 else f"{name} {index}"
        for name, width in zip(shown, widths)
        for index in range(width)
    ]


def _feeds(inputs: Sequence[InputTensor], rows: Any) -> tuple[dict[str, Array], list[str] | None, bool]:
    """The model's inputs made of ``rows``, the names of their columns, and whether it is one row without a batch axis.

    ``rows`` are an array or a data frame for a model with one input, else a dict or a data frame of all inputs.
    """
    columns = [str(name) for name in rows.columns] if hasattr(rows, "columns") else None
    names = [tensor.name for tensor in inputs]
    if len(inputs) == 1 and not isinstance(rows, Mapping):
        array = _array(rows, inputs[0].dtype)
        one = array.ndim == len(inputs[0].shape) - 1
        return {names[0]: array[None] if one else array}, columns, one
    if columns is None and not isinstance(rows, Mapping):
        raise InputError(f"the model has {len(names)} inputs; pass a dict or a data frame with {', '.join(names)}.")
    given = list(rows) if columns is None else columns
    if sorted(given) != sorted(names):
        raise InputError(f"the model's inputs are {', '.join(names)}; found {', '.join(given)}.")
    feeds = {tensor.name: _array(rows[tensor.name], tensor.dtype) for tensor in inputs}
    return (
        {tensor.name: feeds[tensor.name][:, None] if columns is not None else feeds[tensor.name] for tensor in inputs},
        None,
        False,
    )


def _array(values: Any, dtype: str) -> Array:
    """``values`` as an array of the type, if nothing but precision is lost."""
    try:
        array: Array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
        return array.astype(dtype or array.dtype, casting="unsafe" if array.dtype == object else "same_kind")
    except (TypeError, ValueError) as error:
        raise InputError(f"the model takes numbers of type {dtype}: {error}.") from error


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
