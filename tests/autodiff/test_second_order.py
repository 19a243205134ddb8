"""The rules are closed: what they emit can be differentiated again.

For g = the gradient of c . f(x) with respect to the first input, the gradients of d . g with respect to
every input and to c are compared with torch's.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from onnxplain import ModelError
from onnxplain.autodiff import differentiate

from support.cases import all_cases
from support.cases.base import Case
from support.checker import Arrays, forward, session

PER_OPERATOR = 4
BATCH = 2
#: Beginnings of names of cases, and why they are left out.
EXCEPT = {
    "HardSigmoid-torch": "torch has no second derivative",
    "CumProd-zeros": "the rule's product without zeros does not see that a zero could move",
}


def chosen() -> list[Case]:
    """The first few smooth cases with a torch twin of every operator."""
    usable = [
        case
        for case in all_cases()
        if case.torch is not None and case.tie_free and case.wrt() and not case.id.startswith(tuple(EXCEPT))
    ]
    by_operator: dict[str, list[Case]] = {}
    for case in usable:
        by_operator.setdefault(case.op, []).append(case)
    return list(itertools.chain.from_iterable(cases[:PER_OPERATOR] for cases in by_operator.values()))


def expected(case: Case, feeds: Arrays, c: np.ndarray, d: np.ndarray) -> Arrays:
    assert case.torch is not None
    tensors: dict[str, Any] = {name: torch.tensor(feeds[name], requires_grad=True) for name, _ in case.drawn()}
    tensors["cotangent"] = torch.tensor(c, requires_grad=True)
    y = case.torch(*(tensors[name] for name, _ in case.drawn()))
    g = torch.autograd.grad(y, tensors[case.wrt()[0]], tensors["cotangent"], create_graph=True)[0]
    variables = [*case.wrt(), "cotangent"]
    if not g.requires_grad:
        return {v: np.zeros(tensors[v].shape) for v in variables}
    found = torch.autograd.grad(g, [tensors[v] for v in variables], torch.tensor(d), allow_unused=True)
    return {v: np.zeros(tensors[v].shape) if f is None else f.numpy(force=True) for v, f in zip(variables, found)}


def again(once: onnx.ModelProto, output: str, wrt: str, feeds: Arrays, d: np.ndarray) -> np.ndarray | None:
    """The gradient of a gradient; None if it does not depend on ``wrt``."""
    try:
        twice = differentiate(once, tensor=output, wrt=wrt, target="cotangent")
    except ModelError as error:
        if "no float path" in str(error):
            return None
        raise
    names = {p.key: p.value for p in twice.metadata_props}
    every = {**feeds, names["onnxplain.cotangent"]: d}
    runner = session(twice)
    inputs = {i.name: every[i.name] for i in runner.get_inputs()}
    inputs = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in inputs.items()}
    return np.asarray(runner.run([names[f"onnxplain.grad.{wrt}"]], inputs)[0])


@pytest.mark.parametrize("case", chosen(), ids=lambda case: case.id)
def test_second_order(case: Case) -> None:
    feeds = case.feeds(7, BATCH)
    rng = np.random.default_rng(8)
    first = case.wrt()[0]
    c, d = rng.standard_normal(forward(case, feeds).shape), rng.standard_normal(feeds[first].shape)
    once = differentiate(case.model(np.dtype(np.float32), None), wrt=case.wrt(), target="cotangent")
    for name, value in expected(case, feeds, c, d).items():
        found = again(once, f"grad_{first}", name, {**feeds, "cotangent": c}, d)
        found = np.zeros_like(value) if found is None else found
        scale = max(float(np.max(np.abs(value), initial=0.0)), 1e-3)
        assert np.max(np.abs(found - value), initial=0.0) <= 2e-5 * scale, name
