"""Folders that model servers take: a differentiated model with the files that describe it to them."""

from __future__ import annotations

from .write import SERVERS, write_package

__all__ = ["SERVERS", "write_package"]
