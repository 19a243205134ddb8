"""One HTML file about many photos that opens anywhere, offline."""

from .page import Report, report

__all__ = ["Report", "report"]
