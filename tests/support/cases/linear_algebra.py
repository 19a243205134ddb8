"""Cases of operators on square matrices."""

from __future__ import annotations

import torch

from .base import Case, normal, uniform

CASES = [
    Case("Det", (normal("N", 1, 1),), name="one", torch=torch.linalg.det),
    Case("Det", (normal("N", 2, 2),), name="two", torch=torch.linalg.det),
    Case("Det", (normal("N", 2, 4, 4),), name="stack", torch=torch.linalg.det),
    Case("Det", (normal(3, 3),), name="matrix", torch=torch.linalg.det),
    Case("Det", (uniform("N", 3, 3, low=0.0, high=0.0),), name="rank-zero", torch=torch.linalg.det),
]
