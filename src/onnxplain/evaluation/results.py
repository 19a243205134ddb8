"""The result of :func:`~onnxplain.evaluation.evaluate`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import Curves
from ..metrics.arrays import plain
from .measures import METRICS
from .output import counted, interval, markdown, number, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Numbers for every image and method.

    - ``images`` [N]: their paths, or "image 0" and so on; ``targets`` [N] the explained classes, ``labels`` [N] their
      names, None without labels.
    - ``methods`` [M]: the names of the methods, in order.
    - ``values``: metric -> [M,N]; the better direction is ``METRICS[metric].better``.
    - ``curves``: "deletion" or "insertion" -> for each method the curves of all images.
    - ``agreement``: "rank_correlation" or "ssim" -> [M,M,N], of the maps in the model's pixels.
    - ``measured``: what the curves measure, "probability", or "score" for models whose scores are no logits.
    """

    images: list[str]
    targets: list[int]
    labels: list[str | None]
    methods: list[str]
    values: Mapping[str, NDArray[np.float64]]
    curves: Mapping[str, list[Curves]]
    agreement: Mapping[str, NDArray[np.float64]]
    measured: str = "probability"

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each image and method, with all metrics."""
        return [
            {
                "image": image,
                "target": self.targets[column],
                "label": self.labels[column],
                "method": method,
                **{metric: number(values[row, column]) for metric, values in self.values.items()},
            }
            for column, image in enumerate(self.images)
            for row, method in enumerate(self.methods)
        ]

    def summary(self) -> list[dict[str, Any]]:
        """For each method and metric the mean over images, and its 95 % interval (bootstrap), None for one image."""
        found = []
        for row, method in enumerate(self.methods):
            for metric, values in self.values.items():
                low, high = interval(values[row])
                found.append(
                    {"method": method, "metric": metric, "mean": number(values[row].mean()), "low": low, "high": high}
                )
        return found

    def table(self) -> str:
        """Return the means as a Markdown table, a row for each method; arrows tell which direction is better."""
        arrows = {"higher": "↑", "lower": "↓"}
        titles = [f"{METRICS[metric].title} {arrows[METRICS[metric].better]}" for metric in self.values]
        rows = [
            [method, *(f"{values[row].mean():.3f}" for values in self.values.values())]
            for row, method in enumerate(self.methods)
        ]
        return markdown(["method", *titles], rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "images": self.images,
            "methods": self.methods,
            "measured": self.measured,
            "summary": self.summary(),
            "rows": self.rows(),
            "curves": {
                name: {method: curves.to_dict() for method, curves in zip(self.methods, listed)}
                for name, listed in self.curves.items()
            },
            "agreement": {name: plain(values.mean(axis=2)) for name, values in self.agreement.items()},
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a .csv file with :meth:`rows`, or a .json file with :meth:`to_dict`; returns the path.

        Raises:
            OutputError: another suffix, or the file cannot be written.
        """
        return write_table(path, self.rows(), self.to_dict())

    def plot(self) -> Figure:
        """Return a matplotlib figure: a panel of bars for each metric, the mean curves, the agreement.

        Raises:
            RuntimeMissingError: matplotlib is not installed.
        """
        from .plots import plot_evaluation

        return plot_evaluation(self.methods, self.values, self.curves, self.agreement, self.measured)

    def _repr_markdown_(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        metrics = ", ".join([*self.values, *self.agreement])
        return f"<Evaluation of {counted(self.images, 'image')} by {', '.join(self.methods)}: {metrics}>"
