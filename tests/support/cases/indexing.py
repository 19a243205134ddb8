"""Cases of operators that choose elements by index."""

from __future__ import annotations

import numpy as np
import torch

from .base import Case, distinct, normal

FAR = np.iinfo(np.int64).max
NEAR = np.iinfo(np.int64).min


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def i32(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


RUN_TIME_SLICE = (normal("N", 6, 5), i64(4, 1), i64(-7, 9), i64(1, 2), i64(-2, 2))


def run_time_twin(x: torch.Tensor) -> torch.Tensor:
    return x[:, [4, 2, 0]][:, :, 1::2]


SLICES = [
    Case("Slice", (normal("N", 5, 4), i64(0, 1), i64(9, 3)), name="leading-axes", torch=lambda x: x[:, 1:3]),
    Case("Slice", (normal("N", 5), i64(-3), i64(-1), i64(-1)), name="negative", torch=lambda x: x[:, 2:4]),
    Case("Slice", (normal("N", 5), i64(0), i64(FAR), i64(1)), name="everything", torch=torch.clone),
    Case("Slice", (normal("N", 5), i64(3), i64(2), i64(1)), name="nothing", torch=lambda x: x[:, 3:2]),
    Case("Slice", (normal("N", 5), i64(-9), i64(-4), i64(1)), name="clamped", torch=lambda x: x[:, :1]),
    Case("Slice", (normal("N", 5), i64(1), i64(9), i64(1), i64(3)), name="step", torch=lambda x: x[:, 1::3]),
    Case("Slice", (normal("N", 5), i64(0), i64(9), i64(1), i64(2)), name="step-odd", torch=lambda x: x[:, ::2]),
    Case(
        "Slice",
        (normal("N", 2, 6, 4), i64(1, 0), i64(6, 4), i64(2, 3), i64(2, 2)),
        name="focus",
        torch=lambda x: x[:, :, 1::2, ::2],
    ),
    Case("Slice", (normal("N", 5), i64(-1), i64(NEAR), i64(1), i64(-1)), name="flip", torch=lambda x: x.flip(1)),
    Case(
        "Slice",
        (normal("N", 6), i64(4), i64(0), i64(1), i64(-2)),
        name="negative-step",
        torch=lambda x: x[:, [4, 2]],
    ),
    Case(
        "Slice",
        (normal("N", 6, 5), i64(9, 3), i64(-9, 1), i64(1, 2), i64(-3, -1)),
        name="two-negative-steps",
        torch=lambda x: x[:, [5, 2]][:, :, [3, 2]],
    ),
    Case("Slice", (normal("N", "T5"), i64(1), i64(FAR), i64(1)), name="symbolic", torch=lambda x: x[:, 1:]),
    Case("Slice", (normal("N", "T5"), i64(0), i64(1), i64(1)), name="symbolic-head", torch=lambda x: x[:, :1]),
    Case("Slice", (normal("N", "T5"), i64(-2), i64(FAR), i64(1)), name="symbolic-tail", torch=lambda x: x[:, 3:]),
    Case("Slice", (normal("N", "T5"), i64(7), i64(9), i64(1)), name="symbolic-nothing", torch=lambda x: x[:, 5:]),
    Case(
        "Slice",
        (normal("N", "T5"), i64(-2), i64(NEAR), i64(1), i64(-2)),
        name="symbolic-negative-step",
        torch=lambda x: x[:, [3, 1]],
    ),
    Case("Slice", (normal("N", 3), i64(0), i64(1)), name="batch", torch=lambda x: x[:1]),
    *(
        Case("Slice", RUN_TIME_SLICE, name=f"run-time-{name}", runtime=positions, torch=run_time_twin)
        for name, positions in {
            "starts": (1,),
            "ends": (2,),
            "axes": (3,),
            "steps": (4,),
            "bounds": (1, 2),
            "all": (1, 2, 3, 4),
        }.items()
    ),
    Case(
        "Slice",
        (normal("N", 5), i32(1), i32(4), i32(1), i32(1)),
        name="run-time-int32",
        runtime=(1, 2),
        torch=lambda x: x[:, 1:4],
    ),
    Case(
        "Slice",
        (normal("N", 5), i64(0, 1), i64(9, 4)),
        name="run-time-leading-axes",
        runtime=(1, 2),
        torch=lambda x: x[:, 1:4],
    ),
]

GATHERS = [
    Case("Gather", (normal("N", 5, 2), np.array(0)), {"axis": 1}, name="first", torch=lambda x: x[:, 0]),
    Case("Gather", (normal("N", 5, 2), np.array(-2)), {"axis": -2}, name="scalar", torch=lambda x: x[:, 3]),
    Case("Gather", (normal(3, "N"), np.array(1)), name="default-axis", torch=lambda x: x[1]),
    Case("Gather", (normal("N", "T5", 2), np.array(2)), {"axis": 1}, name="symbolic", torch=lambda x: x[:, 2]),
    Case("Gather", (normal("N", "T5", 2), np.array(-1)), {"axis": 1}, name="symbolic-last", torch=lambda x: x[:, -1]),
    Case(
        "Gather",
        (normal("N", "T5"), i64(1, -1)),
        {"axis": 1},
        name="symbolic-both-ends",
        torch=lambda x: x[:, [1, 4]],
    ),
    Case("Gather", (normal("N", 5), i64(3)), {"axis": 1}, name="one", torch=lambda x: x[:, 3:4]),
    Case("Gather", (normal("N", 5), i64(1, 2, 3)), {"axis": 1}, name="run", torch=lambda x: x[:, 1:4]),
    Case("Gather", (normal("N", 6), i64(0, 2, 4)), {"axis": 1}, name="even", torch=lambda x: x[:, ::2]),
    Case("Gather", (normal("N", 6), i64(5, 3, 1)), {"axis": 1}, name="backwards", torch=lambda x: x[:, [5, 3, 1]]),
    Case(
        "Gather", (normal("N", 4, 2), i64(2, 0, 3, 1)), {"axis": 1}, name="shuffle", torch=lambda x: x[:, [2, 0, 3, 1]]
    ),
    Case("Gather", (normal("N", 5), i64(2, 0, -1)), {"axis": 1}, name="some", torch=lambda x: x[:, [2, 0, 4]]),
    Case(
        "Gather",
        (normal("N", 3), i64(0, 0, 1, 1, 2, 2)),
        {"axis": 1},
        name="twice",
        torch=lambda x: x.repeat_interleave(2, 1),
    ),
    Case(
        "Gather",
        (normal("N", 3, 2), i64(0, 2, 0)),
        {"axis": 1},
        name="uneven-repeats",
        torch=lambda x: x[:, [0, 2, 0]],
    ),
    Case("Gather", (normal("N", 40, 2), i64(*[7] * 9)), {"axis": 1}, name="same", torch=lambda x: x[:, [7] * 9]),
    Case("Gather", (normal("N", 3), i64()), {"axis": 1}, name="none", torch=lambda x: x[:, []]),
    Case(
        "Gather",
        (normal("N", 4, 2), np.array([[1, 0, 1], [-1, 2, 0]])),
        {"axis": 1},
        name="matrix",
        torch=lambda x: x[:, [[1, 0, 1], [3, 2, 0]]],
    ),
    Case(
        "Gather",
        (normal("N", 4, 2), np.array([[1, 0, 1], [-1, 2, 0]], dtype=np.int32)),
        {"axis": 1},
        name="run-time-matrix",
        runtime=(1,),
        torch=lambda x: x[:, [[1, 0, 1], [3, 2, 0]]],
    ),
    Case("Gather", (normal("N", 5), np.array(2)), {"axis": 1}, name="run-time", runtime=(1,), torch=lambda x: x[:, 2]),
    Case(
        "ArrayFeatureExtractor",
        (normal("N", 5), i64(1, 3, 0)),
        name="matrix",
        domain="ai.onnx.ml",
        torch=lambda x: x[:, [1, 3, 0]],
    ),
    Case(
        "ArrayFeatureExtractor",
        (normal(5), i64(1, 1)),
        name="vector",
        domain="ai.onnx.ml",
        torch=lambda x: x[None, [1, 1]],
    ),
    Case(
        "GatherElements",
        (normal(4, 3), np.zeros((2, 3), dtype=np.int64)),
        name="default-axis",
        torch=lambda x: x.gather(0, torch.zeros((2, 3), dtype=torch.int64)),
    ),
    Case(
        "GatherElements",
        (normal("N", 4), np.array([[3, -1, 0, 0, 1]])),
        {"axis": -1},
        name="repeated-negative",
        reference=False,
        note="onnx's reference evaluator wants as many rows of indices as of data",
        torch=lambda x: x[:1, [3, 3, 0, 0, 1]],
    ),
    Case(
        "GatherND",
        (normal(3, "N", 2), np.array([[0], [-1], [0]])),
        name="rows",
        torch=lambda x: x[[0, 2, 0]],
    ),
    Case(
        "GatherND",
        (normal(3, 4), np.array([[[0, 1]], [[2, -1]]])),
        name="elements",
        torch=lambda x: x[[[0], [2]], [[1], [3]]],
    ),
    Case(
        "GatherND",
        (normal(2, "T3", 2), np.array([[1], [-3]])),
        {"batch_dims": 1},
        name="batch-dims",
        torch=lambda x: x[[0, 1], [1, 0]],
    ),
    Case(
        "GatherND",
        (normal(2, 2, 3, "N"), np.array([[[1], [1]], [[0], [2]]])),
        {"batch_dims": 2},
        name="two-batch-dims",
        runtime=(1,),
        torch=lambda x: x[[[0, 0], [1, 1]], [[0, 1], [0, 1]], [[1, 1], [0, 2]]],
    ),
    Case(
        "Compress",
        (normal("N", 4, 2), np.array([True, False, True])),
        {"axis": 1},
        name="axis",
        torch=lambda x: x[:, [0, 2]],
    ),
    Case(
        "Compress",
        (normal("N", "T4", 2), np.array([False, True, False, True])),
        {"axis": -2},
        name="run-time",
        runtime=(1,),
        torch=lambda x: x[:, [1, 3]],
    ),
    Case("Compress", (normal("N", 2), np.array([False, True])), name="flat", torch=lambda x: x.flatten()[[1]]),
]

CHOICES = [
    Case("TopK", (distinct("N", 5), i64(2)), name="largest", outputs=2, torch=lambda x: x.topk(2).values),
    Case(
        "TopK",
        (distinct("N", 5, 3), i64(2)),
        {"axis": 1, "largest": 0},
        name="smallest",
        outputs=2,
        runtime=(1,),
        torch=lambda x: x.topk(2, 1, largest=False).values,
    ),
    Case(
        "TopK",
        (distinct("N", "C5"), i64(5)),
        {"axis": -1, "sorted": 1},
        name="sort",
        outputs=2,
        torch=lambda x: x.sort(1, descending=True).values,
    ),
    Case(
        "OneHot",
        (np.array([[0, 2], [-1, 7]]), np.array(3), normal(2)),
        name="default-axis",
        torch=lambda v: v[torch.tensor([[[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 0]]])],
    ),
    Case(
        "OneHot",
        (np.array([1, 0]), np.array([3]), normal(2)),
        {"axis": 0},
        name="axis",
        runtime=(0,),
        reference=False,
        note="onnx's reference evaluator wants the depth as a scalar",
        torch=lambda v: v[torch.tensor([[0, 1], [1, 0], [0, 0]])],
    ),
]

CASES = [*SLICES, *GATHERS, *CHOICES]
