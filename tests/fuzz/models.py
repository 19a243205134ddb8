"""Damaged models, and what onnxplain is asked to do with them."""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path

import numpy as np
import onnx

from onnxplain import differentiate
from onnxplain.autodiff.explainable import DifferentiatedModel
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.request import Request
from onnxplain.autodiff.summary import summarize

from .mutate import mutate_bytes, mutate_message
from support.cases import all_cases
from support.small_models import (
    open_classes,
    product,
    quadratic,
    quadratic_nhwc,
    quadratic_uint8,
    signal,
    tokens,
)

_LARGEST = 1_500_000  # bytes of a model that is mutated: the damage is in the graph, not in more weights
_ZOO = "ONNXPLAIN_ZOO"


@cache
def seeds() -> list[bytes]:
    """Sound models: every operator's cases, small networks, and those of the zoo where there is one."""
    found = [case.model(np.dtype(np.float32), None) for case in all_cases()]
    found += [make() for make in (quadratic, quadratic_nhwc, quadratic_uint8, product, signal, open_classes, tokens)]
    data = [model.SerializeToString() for model in found]
    files = sorted(Path(os.environ[_ZOO]).glob("models/*.onnx")) if _ZOO in os.environ else []
    zoo = [file.read_bytes() for file in files if file.stat().st_size <= _LARGEST]
    return [*data, *zoo * (len(data) // 100)]  # about every eighth


def damaged(seed: int) -> bytes:
    """The model of a seed."""
    rng = random.Random(f"model {seed}")
    data = rng.choice(seeds())
    if rng.random() < 0.15:
        return mutate_bytes(data, rng)
    model = onnx.ModelProto.FromString(data)
    mutate_message(model, rng)
    return model.SerializeToString()


def attempt(seed: int) -> None:
    """Differentiate the model of a seed in one of the forms, or look into it, as ``check`` and an Explainer do."""
    data, form = damaged(seed), tuple(PASSES)[seed % len(PASSES)]
    what = seed % 5
    if what == 0:
        summarize(data)
    elif what == 1:
        DifferentiatedModel.build(data, Request.of(form=form))
    elif what == 2:
        differentiate(data, form=form, saliency=True)
    else:
        differentiate(data, "cotangent", form=form)
