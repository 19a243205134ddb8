"""Cases of elementwise arithmetic."""

from __future__ import annotations

import numpy as np
import torch

from .base import Case, normal, positive

CASES = [
    Case("Add", (normal("N", 3, 4), normal("N", 3, 4)), name="same", torch=torch.add),
    Case("Add", (normal("N", 3, 4), normal(3, 1)), name="broadcast-right", torch=torch.add),
    Case("Add", (normal(4), normal("N", 3, 4)), name="broadcast-left", torch=torch.add),
    Case("Add", (normal("N", 1, 4), normal(1, 3, 1)), name="broadcast-both", torch=torch.add),
    Case("Add", (normal("N", 3), normal()), name="scalar", torch=torch.add),
    Case("Add", (normal("N", 0, 4), normal(4)), name="empty", torch=torch.add),
    Case("Add", (normal(1, 3), normal("N", 3)), name="one-against-batch", torch=torch.add),
    Case("Sum", (normal("N", 3), normal(3), normal(1, 1)), name="three", torch=lambda a, b, c: a + b + c),
    Case("Sum", (normal("N", 3),), name="one", torch=lambda a: a.clone()),
    Case("Sub", (normal("N", 3, 4), normal(3, 1)), name="broadcast", torch=torch.sub),
    Case("Mul", (normal("N", 3, 4), normal("N", 1, 4)), name="broadcast", torch=torch.mul),
    Case("Mul", (normal("N", 3), np.array(2.5)), name="constant", torch=lambda a: a * 2.5),
    Case("Div", (normal("N", 3, 4), positive(3, 1)), name="broadcast", torch=torch.div),
    Case("Div", (normal(1), positive("N", 3)), name="broadcast-numerator", torch=torch.div),
    Case("Neg", (normal("N", 3),), torch=torch.neg),
]
