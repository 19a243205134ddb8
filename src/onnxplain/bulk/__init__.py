"""Many photos: explained, and written as Parquet shards that can be continued, here or on a cluster."""

from __future__ import annotations

from .reading import explanations

__all__ = ["explanations"]
