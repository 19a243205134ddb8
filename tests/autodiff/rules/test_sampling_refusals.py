"""What the rules of sampling operators cannot know or do is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.cases.base import Case, normal

REFUSED = [
    (Case("DeformConv", (normal("N", 2, 5), normal(3, 2, 2), normal("N", 2, 4)), opset=19), "rank of input 0 = 3"),
    (
        Case("DeformConv", (normal("N", "C2", 5, 5), normal(3, 2, 2, 2), normal("N", 8, 4, 4)), opset=19),
        "number of channels = 'unknown'",
    ),
    (
        Case("GridSample", (normal("N", 2, 5, 5), normal("N", 3, 3, 2)), {"padding_mode": "mirror"}, opset=20),
        r"mode and padding_mode = \('linear', 'mirror'\)",
    ),
    (
        Case("AffineGrid", (normal("N", "A2", "B3"), np.array([2, 3, 4, 5])), opset=20, result=("N", 4, 5, 2)),
        "number of axes of theta = 'unknown'",
    ),
]


@pytest.mark.parametrize(("case", "message"), REFUSED, ids=[f"{c.op}-{i}" for i, (c, _) in enumerate(REFUSED)])
def test_refused(case: Case, message: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message):
        differentiate(case.model(np.dtype(np.float32), None), wrt="x0", target="cotangent")
