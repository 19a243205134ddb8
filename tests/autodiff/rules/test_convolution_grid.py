"""Convolution gradients over a grid of geometries, against torch, with a symbolic batch.

Kernels smaller and larger than the stride, asymmetric pads, pads beyond the kernel, dilations, groups,
depthwise, odd and even extents, one to three axes, extents static and symbolic, auto_pad.
"""

from __future__ import annotations

import pytest

from support.cases.base import Case
from support.convolution_grid import GRID
from support.grid import check_against_torch


@pytest.mark.parametrize("case", GRID, ids=[case.id for case in GRID])
def test_gradient(case: Case) -> None:
    check_against_torch(case)


def test_the_grid_is_large() -> None:
    assert len({case.id for case in GRID}) == len(GRID) >= 700
