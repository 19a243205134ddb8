"""Running models in ONNX Runtime: providers, sessions, micro-batches."""

from __future__ import annotations

from .batching import BatchedSession
from .providers import Provider, ProviderWarning
from .session import Session

__all__ = ["BatchedSession", "Provider", "ProviderWarning", "Session"]
