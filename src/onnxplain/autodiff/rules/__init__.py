"""Rules by family; importing this package fills the registry."""

from __future__ import annotations

from . import arithmetic, zero_derivative

__all__ = ["arithmetic", "zero_derivative"]
