"""A page that explains photos in the browser: static files, with the models and ONNX Runtime's build for browsers."""

from __future__ import annotations

from .runtime_files import VERSION, find_runtime, keep_runtime
from .write import CONTENT_POLICY, write_page

__all__ = ["CONTENT_POLICY", "VERSION", "find_runtime", "keep_runtime", "write_page"]
