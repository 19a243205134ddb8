"""Cases of every rule; one module per module of ``onnxplain.autodiff.rules``, of the same name."""

from __future__ import annotations

import importlib
import pkgutil

from .base import Case


def all_cases() -> list[Case]:
    """Every case of every family, in the order of the modules' names."""
    cases: list[Case] = []
    for info in pkgutil.iter_modules(__path__):
        if info.name != "base":
            cases += importlib.import_module(f"{__name__}.{info.name}").CASES
    return cases
