"""Saliency maps for any ONNX model.

The public names are loaded when first used, so that ``import onnxplain`` stays fast and needs neither
ONNX Runtime nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._version import __version__
from .errors import (
    BatchWarning,
    CacheWarning,
    GradientError,
    ImageError,
    InputError,
    ModelError,
    OnnxplainError,
    OutputError,
    PreprocessingError,
    ProviderError,
    RuntimeMissingError,
    StoppedError,
    TargetError,
    UnsupportedOperatorError,
)

if TYPE_CHECKING:
    from . import extend, metrics
    from .autodiff import differentiate, differentiate_file, differentiate_ir, lower_gradients, vjp
    from .evaluation import Evaluation, RandomizationCheck, evaluate, randomization_check
    from .explainer import Explainer
    from .from_torch.export import TorchExport, export_torch
    from .photos import Preprocessing
    from .preprocessing import find_preprocessing
    from .results.detection import Detection
    from .results.explanation import Explanation
    from .results.explanations import Explanations
    from .results.features import TableExplanation, TokenExplanation
    from .results.grid import grid
    from .results.report import report
    from .runtime import ProviderWarning, clear_cache
    from .target import Box, Target
    from .visualization import ClassVisualization, ConvergenceWarning

__all__ = [
    "BatchWarning",
    "Box",
    "CacheWarning",
    "ClassVisualization",
    "ConvergenceWarning",
    "Detection",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Explanations",
    "GradientError",
    "ImageError",
    "InputError",
    "ModelError",
    "OnnxplainError",
    "OutputError",
    "Preprocessing",
    "PreprocessingError",
    "ProviderError",
    "ProviderWarning",
    "RandomizationCheck",
    "RuntimeMissingError",
    "StoppedError",
    "TableExplanation",
    "Target",
    "TargetError",
    "TokenExplanation",
    "TorchExport",
    "UnsupportedOperatorError",
    "__version__",
    "clear_cache",
    "differentiate",
    "differentiate_file",
    "differentiate_ir",
    "evaluate",
    "export_torch",
    "extend",
    "find_preprocessing",
    "grid",
    "lower_gradients",
    "metrics",
    "randomization_check",
    "report",
    "vjp",
]

_LAZY = {
    "differentiate": ".autodiff",
    "differentiate_file": ".autodiff",
    "differentiate_ir": ".autodiff",
    "lower_gradients": ".autodiff",
    "vjp": ".autodiff",
    "evaluate": ".evaluation",
    "randomization_check": ".evaluation",
    "Evaluation": ".evaluation",
    "RandomizationCheck": ".evaluation",
    "Explainer": ".explainer",
    "Detection": ".results.detection",
    "Explanation": ".results.explanation",
    "Explanations": ".results.explanations",
    "TableExplanation": ".results.features",
    "TokenExplanation": ".results.features",
    "Preprocessing": ".photos",
    "find_preprocessing": ".preprocessing",
    "ClassVisualization": ".visualization",
    "ConvergenceWarning": ".visualization",
    "ProviderWarning": ".runtime",
    "clear_cache": ".runtime",
    "Box": ".target",
    "Target": ".target",
    "TorchExport": ".from_torch.export",
    "export_torch": ".from_torch.export",
    "grid": ".results.grid",
    "report": ".results.report",
}


_MODULES = ("extend", "metrics")

if not TYPE_CHECKING:  # a checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return importlib.import_module(f".{name}", __name__)
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}.")
        value = getattr(importlib.import_module(_LAZY[name], __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
