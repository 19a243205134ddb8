"""Measures of explanations: arrays in, arrays out, one number for each image.

Maps are [N,H,W] or [N,1,H,W], attributions [N,C,H,W], masks [N,H,W] or [N,1,H,W]: what Quantus takes as well.
"""

from __future__ import annotations

from .agreement import rank_correlation, ssim
from .arrays import ExplainFunction, ScoreFunction
from .baselines import Baseline, baseline_images
from .curves import Curves, deletion, insertion
from .infidelity import Perturbation, infidelity
from .localization import box_masks, energy_in_mask, pointing_game
from .sensitivity import max_sensitivity
from .sparseness import sparseness

__all__ = [
    "Baseline",
    "Curves",
    "ExplainFunction",
    "Perturbation",
    "ScoreFunction",
    "baseline_images",
    "box_masks",
    "deletion",
    "energy_in_mask",
    "infidelity",
    "insertion",
    "max_sensitivity",
    "pointing_game",
    "rank_correlation",
    "sparseness",
    "ssim",
]
