"""Evaluation of explanations: which method to trust on a model and photos of one's own.

:func:`evaluate` measures the maps of several methods, :func:`randomization_check` whether they depend on what the model
has learned. Both run in micro-batches; only the numbers stay.
"""

from __future__ import annotations

from ..autodiff.randomized import randomized_models
from .measures import METRICS
from .randomization import RandomizationCheck, randomization_check
from .results import Evaluation
from .run import evaluate

__all__ = ["METRICS", "Evaluation", "RandomizationCheck", "evaluate", "randomization_check", "randomized_models"]
