"""What users hold: a model, ready to explain arrays and photos."""

from __future__ import annotations

from ..results.explanation import Explanation
from .explain import Explainer

__all__ = ["Explainer", "Explanation"]
