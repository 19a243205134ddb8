"""Attribution methods, each a few lines over a session and the C++ reduction.

``METHODS`` is the table of them by name; adding one is a file with a :class:`~.base.Method` and a line in the table of
``registry.py``. A file has one family of methods; what several families share is in ``helpers``.
"""

from __future__ import annotations

from .base import Method
from .registry import METHODS, find_method, register_method

__all__ = ["METHODS", "Method", "find_method", "register_method"]
