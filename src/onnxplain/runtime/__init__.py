"""Running models in ONNX Runtime, or in OpenVINO: providers, sessions, micro-batches, prepared models on disk."""

from __future__ import annotations

from .batching import BatchedSession, Forwards, Plan, Runner
from .cache import ModelCache, clear_cache, open_cache
from .providers import CPU, CUDA, Provider, ProviderWarning, expected, usable
from .session import Session, frames_of_the_package
from .stopping import Stop, stoppable
from .weights import weights_beside, write_apart
from .workers import side_by_side

__all__ = [
    "CPU",
    "CUDA",
    "BatchedSession",
    "Forwards",
    "ModelCache",
    "Plan",
    "Provider",
    "ProviderWarning",
    "Runner",
    "Session",
    "Stop",
    "clear_cache",
    "expected",
    "frames_of_the_package",
    "open_cache",
    "side_by_side",
    "stoppable",
    "usable",
    "weights_beside",
    "write_apart",
]
