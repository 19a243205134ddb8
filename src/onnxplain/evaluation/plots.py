"""Figures of results; matplotlib is imported here alone."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RuntimeMissingError
from .measures import METRICS
from .output import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .randomization import RandomizationCheck
    from .results import Evaluation

_COLUMNS = 3


def plot_evaluation(evaluation: Evaluation) -> Figure:
    """A panel of bars for each metric, one of mean curves for each kind, one of agreement for each measure."""
    panels = len(evaluation.values) + len(evaluation.curves) + len(evaluation.agreement)
    rows = ceil(panels / _COLUMNS)
    height = 1.2 + 0.25 * len(evaluation.methods)
    figure = _figure(4.2 * min(panels, _COLUMNS), max(2.8, height) * rows)
    axes = iter(np.ravel(figure.subplots(rows, min(panels, _COLUMNS), squeeze=False)))
    for metric in evaluation.values:
        _bars(next(axes), evaluation, metric)
    for name in evaluation.curves:
        _curves(next(axes), evaluation, name)
    for name in evaluation.agreement:
        _agreement(next(axes), evaluation, name)
    for empty in axes:
        empty.set_axis_off()
    return figure


def plot_randomization(check: RandomizationCheck, metric: str) -> Figure:
    """A line for each method over the layers, from the untouched model on."""
    figure = _figure(8, 4.5)
    axes = figure.subplots()
    places = np.arange(len(check.layers) + 1)
    for method, values in zip(check.methods, check.means(metric).T):
        axes.plot(places, [1, *values], marker="o", markersize=3, label=method)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, ["none", *check.layers], rotation=45, ha="right")
    axes.set_xlabel("weights are random from the score down to" if check.cascading else "layer with random weights")
    axes.set_ylabel(f"{_title(metric)} with the map before")
    axes.legend(fontsize="small")
    return figure


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeMissingError('plot() needs matplotlib; pip install "onnxplain[plot]".') from error
    return Figure(figsize=(width, height), layout="constrained")


def _title(agreement: str) -> str:
    return "SSIM" if agreement == "ssim" else agreement.replace("_", " ")


def _bars(axes: Axes, evaluation: Evaluation, metric: str) -> None:
    values = evaluation.values[metric]
    places = np.arange(len(values))
    means = values.mean(axis=1)
    bounds = [interval(row) for row in values]
    errors = [[mean - (mean if low is None else low) for mean, (low, _) in zip(means, bounds)],
              [(mean if high is None else high) - mean for mean, (_, high) in zip(means, bounds)]]  # fmt: skip
    axes.barh(places, means, xerr=np.maximum(errors, 0), color="tab:blue", ecolor="0.4")
    axes.set_yticks(places, evaluation.methods)
    axes.invert_yaxis()
    axes.set_title(f"{METRICS[metric].title} ({METRICS[metric].better} is better)", fontsize="medium")


def _curves(axes: Axes, evaluation: Evaluation, name: str) -> None:
    for method, curves in zip(evaluation.methods, evaluation.curves[name]):
        axes.plot(curves.fractions, curves.scores.mean(axis=0), label=method)
    axes.set_xlabel(f"share of pixels after {name}")
    axes.set_ylabel(evaluation.measured)
    axes.set_title(f"{name} curves", fontsize="medium")
    axes.legend(fontsize="x-small")


def _agreement(axes: Axes, evaluation: Evaluation, name: str) -> None:
    values = np.nan_to_num(evaluation.agreement[name]).mean(axis=2)
    axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    places = np.arange(len(evaluation.methods))
    axes.set_xticks(places, evaluation.methods, rotation=45, ha="right")
    axes.set_yticks(places, evaluation.methods)
    if len(places) <= 8:
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            color = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize="x-small", color=color)
    axes.set_title(f"{_title(name)} of maps", fontsize="medium")
