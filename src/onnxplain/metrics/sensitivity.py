"""Max-sensitivity: how much can an explanation change when the input hardly does?

Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", definition 3.1, by sampling::

    SENS = max over ||y - x||_inf <= r of ||Phi(y) - Phi(x)||_2

divided by ||Phi(x)||_2 with ``normalize``, so that methods with different units compare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from .arrays import Array, ExplainFunction, as_targets, like


def max_sensitivity(
    explain: ExplainFunction,
    x: Array,
    targets: Any,
    *,
    radius: float | Array = 0.02,
    samples: int = 10,
    normalize: bool = True,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the greatest change found of N explanations, [N]; lower is better.

    Args:
        explain: a(x [N,...], targets [N]) -> attributions or maps [N,...].
        x: the input tensors [N,...].
        targets: the class, or one for each sample.
        radius: r in units of ``x``; an array that broadcasts over it, if channels have units of their own.
        samples: how many inputs y are drawn, uniformly. The maximum of few samples is a lower bound.
        normalize: relative to the norm of the explanation; infinite where that is 0 and the explanation changes.
        seed: which inputs are drawn.
    """
    x, classes = np.asarray(x), as_targets(targets, len(x))
    generator = np.random.default_rng(seed)
    still = _rows(explain(x, classes))
    largest = np.zeros(len(x))
    for _ in range(check_count("samples", samples)):
        moved = like(x + generator.uniform(-1, 1, x.shape) * radius, x)
        largest = np.maximum(largest, np.linalg.norm(_rows(explain(moved, classes)) - still, axis=1))
    if not normalize:
        return largest
    norm = np.linalg.norm(still, axis=1)
    relative: NDArray[np.float64] = np.divide(largest, norm, out=np.where(largest > 0, np.inf, 0.0), where=norm > 0)
    return relative


def _rows(attributions: Array) -> NDArray[np.float64]:
    return np.asarray(attributions, dtype=np.float64).reshape(len(attributions), -1)
