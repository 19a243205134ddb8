"""From rows of features and sequences of tokens to explanations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..checks import check_unmasked
from ..errors import InputError
from ..methods import METHODS, Method, find_method
from ..model.attributor import Attributor
from ..model.inputs import check_inputs
from ..model.question import targets_of
from ..results.features import FeatureExplanation, TableExplanation, TokenExplanation
from ..signature import InputTensor
from ..target import TargetLike
from .attributions import only, row_attributions

Array = NDArray[Any]
F = TypeVar("F", bound=FeatureExplanation)

#: One for a row or sequence; a list for several; lists of these by class.
Found: TypeAlias = F | list[F] | list[list[F]]


def explain_table(
    attributor: Attributor, rows: Any, feature_names: Sequence[str] | None, target: TargetLike, method: Method
) -> Found[TableExplanation]:
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


def explain_tokens(
    attributor: Attributor, ids: Any, tokens: Any, target: TargetLike, method: Method
) -> Found[TokenExplanation]:
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
    """Return the method with the mean of the rows ``background`` [M,F] as its baseline, if there are any.

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
    kind: type[F],
    attributor: Attributor,
    method: Method,
    feeds: Mapping[str, Array],
    target: TargetLike,
    names: Callable[[int], list[str]],
    values: Array,
    one: bool,
) -> Found[F]:
    """Return one explanation, or a list of them by class, for each row; without the outer list for ``one`` row."""
    found: list[Any] = []
    asked = targets_of(target, attributor.samples(feeds), attributor.signature.places, alone=one)
    for row, ranked in enumerate(row_attributions(attributor, method, feeds, asked)):
        shown = [kind(names(row), values[row], attribution, **facts) for attribution, facts in ranked]
        found.append(shown if asked.lists else shown[0])
    return found[0] if one else found


def _sources(attributor: Attributor, method: Method) -> list[str]:
    """Return the inputs that the explained tensors are, or are computed from."""
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
    """Return the model's inputs, the names of the columns, and whether ``rows`` are one row without a batch axis.

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
    """Return ``values`` as an array of the type, if nothing but precision is lost."""
    check_unmasked("what is explained, or compared with,", values)
    try:
        array: Array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
        return array.astype(dtype or array.dtype, casting="unsafe" if array.dtype == object else "same_kind")
    except (TypeError, ValueError) as error:
        raise InputError(f"the model takes numbers of type {dtype}: {str(error).rstrip('.')}.") from error
