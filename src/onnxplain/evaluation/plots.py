"""Figures of results, from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..metrics import Curves
from ..pictures.figures import new_figure, plain
from .measures import METRICS
from .output import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3


def plot_evaluation(
    methods: Sequence[str],
    values: Mapping[str, NDArray[np.float64]],
    curves: Mapping[str, Sequence[Curves]],
    agreement: Mapping[str, NDArray[np.float64]],
    measured: str,
) -> Figure:
    """Draw a panel of bars for each metric, one of mean curves for each kind, one of agreement for each measure.

    The arguments are the fields of :class:`~.results.Evaluation`.
    """
    panels = len(values) + len(curves) + len(agreement)
    rows = ceil(panels / _COLUMNS)
    height = 1.2 + 0.25 * len(methods)
    figure = new_figure(4.2 * min(panels, _COLUMNS), max(2.8, height) * rows)
    axes = iter(np.ravel(figure.subplots(rows, min(panels, _COLUMNS), squeeze=False)))
    for metric, numbers in values.items():
        _bars(next(axes), methods, metric, numbers)
    for name, listed in curves.items():
        _curves(next(axes), methods, name, listed, measured)
    for name, numbers in agreement.items():
        _agreement(next(axes), methods, name, numbers)
    for empty in axes:
        empty.set_axis_off()
    return figure


def plot_randomization(
    layers: Sequence[str], methods: Sequence[str], means: NDArray[np.float64], metric: str, *, cascading: bool
) -> Figure:
    """Draw a line for each method over the layers, from the untouched model on; ``means`` [L,M] of ``metric``."""
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    places = np.arange(len(layers) + 1)
    for method, values in zip(methods, means.T):
        axes.plot(places, [1, *values], marker="o", markersize=3, label=plain(method))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, ["none", *map(plain, layers)], rotation=45, ha="right")
    axes.set_xlabel("weights are random from the score down to" if cascading else "layer with random weights")
    axes.set_ylabel(f"{_title(metric)} with the map before")
    axes.legend(fontsize="small")
    return figure


def _title(agreement: str) -> str:
    return "SSIM" if agreement == "ssim" else agreement.replace("_", " ")


def _bars(axes: Axes, methods: Sequence[str], metric: str, values: NDArray[np.float64]) -> None:
    places = np.arange(len(values))
    means = values.mean(axis=1)
    bounds = [interval(row) for row in values]
    errors = [[mean - (mean if low is None else low) for mean, (low, _) in zip(means, bounds)],
              [(mean if high is None else high) - mean for mean, (_, high) in zip(means, bounds)]]  # fmt: skip
    axes.barh(places, means, xerr=np.maximum(errors, 0), color="tab:blue", ecolor="0.4")
    axes.set_yticks(places, list(map(plain, methods)))
    axes.invert_yaxis()
    axes.set_title(f"{METRICS[metric].title} ({METRICS[metric].better} is better)", fontsize="medium")


def _curves(axes: Axes, methods: Sequence[str], name: str, listed: Sequence[Curves], measured: str) -> None:
    for method, curves in zip(methods, listed):
        axes.plot(curves.fractions, curves.scores.mean(axis=0), label=plain(method))
    axes.set_xlabel(f"share of pixels after {name}")
    axes.set_ylabel(measured)
    axes.set_title(f"{name} curves", fontsize="medium")
    axes.legend(fontsize="x-small")


def _agreement(axes: Axes, methods: Sequence[str], name: str, agreement: NDArray[np.float64]) -> None:
    values = np.nan_to_num(agreement).mean(axis=2)
    axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    places = np.arange(len(methods))
    axes.set_xticks(places, list(map(plain, methods)), rotation=45, ha="right")
    axes.set_yticks(places, list(map(plain, methods)))
    if len(places) <= 8:
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            color = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize="x-small", color=color)
    axes.set_title(f"{_title(name)} of maps", fontsize="medium")
