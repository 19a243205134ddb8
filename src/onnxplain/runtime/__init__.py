"""Running models in ONNX Runtime: providers, sessions, micro-batches."""

from __future__ import annotations

from .batching import BatchedSession
from .providers import CPU, CUDA, Provider, ProviderWarning, expected
from .session import Session

__all__ = ["CPU", "CUDA", "BatchedSession", "Provider", "ProviderWarning", "Session", "expected"]
