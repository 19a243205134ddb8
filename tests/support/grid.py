"""What the grid tests share: one configuration, a symbolic batch, compared with torch in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from onnxplain.autodiff import differentiate

from support.cases.base import Case
from support.checker import compare, run_gradients, session, torch_gradients

BATCH = 2


def check_against_torch(case: Case) -> None:
    """Every gradient of ``case`` from one model whose batch is symbolic, element by element.

    The torch twin is compared with the forward operator of ONNX Runtime as well.
    """
    assert case.torch is not None
    case = replace(case, reference=False)
    runner = session(differentiate(case.model(np.dtype(np.float32), None), wrt=case.wrt(), target="cotangent"))
    feeds = case.feeds(1, BATCH)
    positions = case.torch(*(torch.tensor(feeds[name]) for name, _ in case.drawn())).shape
    cotangent = np.random.default_rng(2).standard_normal(positions)
    gradients = run_gradients(runner, case, feeds, cotangent)
    compare(torch_gradients(case, feeds, cotangent), gradients, 1e-5, "torch")


def named(kind: str, extents: tuple[int, ...]) -> tuple[int | str, ...]:
    """The extents as they are (``static``), or as symbolic dimensions of that size."""
    return extents if kind == "static" else tuple(f"{letter}{extent}" for letter, extent in zip("HWD", extents))
