"""What users hold: a model, ready to explain arrays and photos."""

from __future__ import annotations

from ..results.explanation import Explanation
from .explain import ClassScore, Explainer

__all__ = ["ClassScore", "Explainer", "Explanation"]
