"""Class model visualisation: the image that a class, or a neuron, likes best.

Simonyan, Vedaldi, Zisserman 2013, section 2: argmax over I of S_c(I) - lambda ||I||_2^2, by gradient ascent on the
image, the weights fixed, S_c the score before softmax.
"""

from __future__ import annotations

from .result import ClassVisualization, ConvergenceWarning
from .settings import PRESETS, Settings
from .visualize import Drawing, draw_classes, draw_neurons

__all__ = ["PRESETS", "ClassVisualization", "ConvergenceWarning", "Drawing", "Settings", "draw_classes", "draw_neurons"]
