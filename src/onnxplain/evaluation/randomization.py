"""Whether maps depend on what a model has learned: the sanity check of Adebayo et al. 2018."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..autodiff.graph.io import ModelSource
from ..autodiff.randomized import randomized_models
from ..bundled import bundled_model
from ..errors import InputError
from ..explainer import Explainer, Explanation
from ..explainer.inputs import Images
from ..methods import Method
from ..photos.load import ImageSource
from ..pipeline.stream import is_one, photo_sources
from ..progress import track
from ..target import TargetLike
from .choices import Methods, find_methods
from .measures import AGREEMENTS, model_map
from .output import counted, markdown, number, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class RandomizationCheck:
    """How much maps keep of themselves while the weights of the model become random.

    - ``layers`` [L]: the layer down to which all weights are random (``cascading``), or whose weights alone are, from
      the score down.
    - ``methods`` [M], ``images`` [N].
    - ``values``: "rank_correlation", "ssim" -> [L,M,N], of the map before and after; NaN where a map is constant. A
      method passes if it falls towards 0: its maps then show what was learned.
    """

    layers: list[str]
    methods: list[str]
    images: list[str]
    values: Mapping[str, NDArray[np.float64]]
    cascading: bool
    seed: int

    def means(self, metric: str = "rank_correlation") -> NDArray[np.float64]:
        """Return the means over images [L,M]; constant maps count as 0, since nothing is kept."""
        means: NDArray[np.float64] = np.nan_to_num(self.values[metric]).mean(axis=2)
        return means

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each layer, method and image."""
        return [
            {
                "layer": layer,
                "method": method,
                "image": image,
                **{name: number(values[row, column, place]) for name, values in self.values.items()},
            }
            for row, layer in enumerate(self.layers)
            for column, method in enumerate(self.methods)
            for place, image in enumerate(self.images)
        ]

    def table(self, metric: str = "rank_correlation") -> str:
        """Return the means as a Markdown table: a row for each layer, a column for each method."""
        rows = [
            [layer, *(f"{value:.3f}" for value in values)] for layer, values in zip(self.layers, self.means(metric))
        ]
        return markdown(["random down to" if self.cascading else "random", *self.methods], rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "cascading": self.cascading,
            "seed": self.seed,
            "layers": self.layers,
            "methods": self.methods,
            "images": self.images,
            "means": {name: self.means(name).tolist() for name in self.values},
            "rows": self.rows(),
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a .csv file with :meth:`rows`, or a .json file with :meth:`to_dict`; returns the path.

        Raises:
            OutputError: another suffix, or the file cannot be written.
        """
        return write_table(path, self.rows(), self.to_dict())

    def plot(self, metric: str = "rank_correlation") -> Figure:
        """Return a matplotlib figure: a line for each method over the layers.

        Raises:
            RuntimeMissingError: matplotlib is not installed.
        """
        from .plots import plot_randomization

        return plot_randomization(self.layers, self.methods, self.means(metric), metric, cascading=self.cascading)

    def _repr_markdown_(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        kept = ", ".join(f"{method} keeps {value:.2f}" for method, value in zip(self.methods, self.means()[-1]))
        layers, images = counted(self.layers, "layer"), counted(self.images, "image")
        return f"<RandomizationCheck of {images} over {layers}: {kept} at {self.layers[-1]}>"


def randomization_check(
    model: ModelSource | None,
    images: ImageSource | Images,
    methods: Methods = ("saliency",),
    *,
    target: TargetLike = None,
    seed: int = 0,
    cascading: bool = True,
    stages: int | None = 8,
    tensor: str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> RandomizationCheck:
    """Compare the maps of ``model`` with those of copies whose weights are random.

    Args:
        model: path, bytes, ``onnx.ModelProto`` or ``onnx_ir.Model``; None is the bundled classifier.
        images: photos, as for :meth:`Explainer.explain`; their maps [M,N,h,w] are held in memory.
        methods: as for :func:`evaluate`.
        target: the explained class, for all copies alike; None is the class that ``model`` itself predicts.
        seed, cascading, stages: see :func:`onnxplain.autodiff.randomized.randomized_models`.
        tensor: what is explained, as in :func:`onnxplain.differentiate`.
        progress: a bar on stderr when it takes long; None: in terminals only.
        options: of :class:`Explainer`: ``preprocessing``, ``providers``, ``threads`` and so on.

    Raises:
        ModelError: the model cannot be read, or has no weights.
        As :meth:`Explainer.explain` raises.
    """
    source = bundled_model() if model is None else model
    chosen = find_methods(methods)
    photos: list[Any] = [images] if is_one(images) else list(photo_sources(images))
    explainer = Explainer(source, tensor=tensor, **options)
    found = explainer.stream(photos, target, next(iter(chosen.values())), progress=False)
    explanations = [one for one in found if isinstance(one, Explanation)]
    if not explanations:
        raise InputError(f"the check needs photos and one class for each; found {len(photos)} and target {target!r}.")
    targets = [explanation.target for explanation in explanations]
    before = _maps(explainer, photos, targets, chosen)
    # A copy is used once: it has no place in the cache, nor the files beside the model.
    stated = {"preprocessing": explainer.preprocessing.preprocessing, "labels": explainer.labels, "cache": False}
    copies = randomized_models(source, seed=seed, cascading=cascading, stages=stages, tensor=tensor)
    layers: list[str] = []
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in AGREEMENTS}
    for layer, copy in track(copies, stages, show=progress):
        after = _maps(Explainer(copy, tensor=tensor, **{**options, **stated}), photos, targets, chosen)
        layers.append(layer)
        for name, compare in AGREEMENTS.items():
            values[name].append(np.stack([compare(a, b) for a, b in zip(before, after)]))
    return RandomizationCheck(
        layers=layers,
        methods=list(chosen),
        images=[explanation.source or f"image {index}" for index, explanation in enumerate(explanations)],
        values={name: np.stack(parts) for name, parts in values.items()},
        cascading=cascading,
        seed=seed,
    )


def _maps(
    explainer: Explainer, photos: list[Any], targets: list[int], methods: Mapping[str, Method]
) -> list[NDArray[np.float32]]:
    """Return the maps of each method in the model's pixels, [N,h,w]."""
    return [
        np.stack([model_map(one) for one in explainer.stream(photos, targets, method, progress=False)])
        for method in methods.values()
    ]
