"""Cases of ai.onnx.ml: features, linear models and support vector machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .base import Case, Input, among, normal, positive

ML = "ai.onnx.ml"
RNG = np.random.default_rng(5)


def _floats(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape), dtype=np.float32).astype(np.float64)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64)


def _case(op: str, inputs: tuple[Input, ...], attributes: dict[str, Any], name: str, twin: Any, **options: Any) -> Case:
    given = {k: v.reshape(-1).tolist() if isinstance(v, np.ndarray) else v for k, v in attributes.items()}
    if op.endswith("Classifier"):
        options = {
            "outputs": 2,
            "output": 1,
            "exposed": False,
            "reference": False,
            "note": "as in ONNX Runtime",
            **options,
        }
    return Case(op, inputs, given, name, torch=twin, domain=ML, **options)


SCALE, OFFSET = _floats(4), _floats(4)
A, B = _floats(3, 4), _floats(3)
V, C = _floats(5, 4), _floats(1, 5)
KERNELS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "LINEAR": lambda x, v: x @ v.T,
    "POLY": lambda x, v: (0.5 * x @ v.T + 0.25) ** 3,
    "RBF": lambda x, v: torch.exp(-0.5 * ((x[:, None] - v) ** 2).sum(2)),
    "SIGMOID": lambda x, v: torch.tanh(0.5 * x @ v.T + 0.25),
}
PARAMETERS = [0.5, 0.25, 3.0]

FEATURES = [
    _case(
        "Scaler",
        (normal("N", 4),),
        {"scale": SCALE, "offset": OFFSET},
        "each",
        lambda x: (x - _tensor(OFFSET)) * _tensor(SCALE),
    ),
    _case("Scaler", (normal(4),), {"scale": [2.5], "offset": [0.5]}, "one", lambda x: (x - 0.5) * 2.5),
    _case(
        "Imputer",
        (normal("N", 3),),
        {"imputed_value_floats": [1.0], "replaced_value_float": float("nan")},
        "nan",
        torch.clone,
    ),
    _case(
        "Imputer",
        (among("N", 12, values=(0.0, 1.5, -2.0)),),
        {"imputed_value_floats": [0.75], "replaced_value_float": 1.5},
        "number",
        lambda x: torch.where(x == 1.5, torch.tensor(0.75, dtype=x.dtype), x),
        tie_free=False,
    ),
    _case("Normalizer", (positive("N", 4),), {"norm": "MAX"}, "max", lambda x: x / x.amax(1, keepdim=True)),
    _case("Normalizer", (normal("N", 4),), {"norm": "L1"}, "l1", lambda x: x / x.abs().sum(1, keepdim=True)),
    _case("Normalizer", (normal("N", 4),), {"norm": "L2"}, "l2", lambda x: x / x.norm(dim=1, keepdim=True)),
    _case(
        "FeatureVectorizer",
        (normal("N", 2), normal("N", 3), normal("N", 1)),
        {"inputdimensions": [2, 2, 3]},
        "cut-and-filled",
        lambda a, b, c: torch.cat([a, b[:, :2], torch.nn.functional.pad(c, (0, 2))], 1),
    ),
    _case(
        "FeatureVectorizer",
        (normal("N", "F2"), normal("N", "G3")),
        {"inputdimensions": [3, 1]},
        "symbolic",
        lambda a, b: torch.cat([torch.nn.functional.pad(a, (0, 1)), b[:, :1]], 1),
    ),
]

LINEAR = [
    _case(
        "LinearRegressor",
        (normal("N", 4),),
        {"coefficients": A[:1], "intercepts": B[:1]},
        "one",
        lambda x: x @ _tensor(A[:1]).T + float(B[0]),
    ),
    _case(
        "LinearRegressor",
        (normal("N", 4),),
        {"coefficients": A, "intercepts": B, "targets": 3, "post_transform": "SOFTMAX"},
        "three-softmax",
        lambda x: torch.softmax(x @ _tensor(A).T + _tensor(B), 1),
        reference=False,
        note="onnx's reference evaluator has no post_transform",
    ),
    *(
        _case(
            "LinearClassifier",
            (normal("N", 4),),
            {"coefficients": A, "intercepts": B, "classlabels_ints": [3, 5, 9], "post_transform": transform},
            transform.lower(),
            lambda x, f=f: f(x @ _tensor(A).T + _tensor(B)),
        )
        for transform, f in {
            "NONE": lambda s: s,
            "LOGISTIC": torch.sigmoid,
            "SOFTMAX": lambda s: torch.softmax(s, 1),
            "SOFTMAX_ZERO": lambda s: torch.softmax(s, 1),
        }.items()
    ),
    _case(
        "LinearClassifier",
        (normal("N", 4),),
        {"coefficients": A[:1], "intercepts": B[:1], "classlabels_strings": ["no", "yes"]},
        "binary",
        lambda x: torch.cat([1 - x @ _tensor(A[:1]).T - float(B[0]), x @ _tensor(A[:1]).T + float(B[0])], 1),
    ),
    _case(
        "LinearClassifier",
        (normal(4),),
        {"coefficients": A[:1], "intercepts": B[:1], "classlabels_ints": [0, 1], "post_transform": "LOGISTIC"},
        "binary-logistic-vector",
        lambda x: torch.sigmoid((x @ _tensor(A[0]) + float(B[0])) * torch.tensor([[-1.0, 1.0]], dtype=x.dtype)),
    ),
]


def _svm(kind: str, x: torch.Tensor) -> torch.Tensor:
    return KERNELS[kind](x, _tensor(V)) @ _tensor(C).T + 0.3


MACHINE = {"kernel_params": PARAMETERS, "rho": [0.3], "support_vectors": V, "coefficients": C}
BINARY = {**MACHINE, "vectors_per_class": [2, 3], "classlabels_ints": [0, 1], "kernel_type": "RBF"}
THREE = _floats(2, 5)
DECISIONS = [0.1, -0.2, 0.3]


def _three(x: torch.Tensor) -> torch.Tensor:
    """Classes own vectors 0-1, 2-3 and 4."""
    k, w = KERNELS["RBF"](x, _tensor(V)), _tensor(THREE)
    first = k[:, :2] @ w[0, :2] + k[:, 2:4] @ w[0, 2:4] + 0.1
    second = k[:, :2] @ w[1, :2] + k[:, 4:] @ w[0, 4:] - 0.2
    third = k[:, 2:4] @ w[1, 2:4] + k[:, 4:] @ w[1, 4:] + 0.3
    return torch.stack([first, second, third], 1)


MACHINES = [
    *(
        _case(
            "SVMRegressor",
            (normal("N", 4),),
            {**MACHINE, "kernel_type": kind, "n_supports": 5},
            kind.lower(),
            lambda x, kind=kind: _svm(kind, x),
        )
        for kind in KERNELS
    ),
    _case(
        "SVMRegressor",
        (normal("N", 4),),
        {"kernel_type": "LINEAR", "kernel_params": PARAMETERS, "coefficients": A[:1], "rho": [0.3]},
        "without-vectors",
        lambda x: x @ _tensor(A[:1]).T + 0.3,
        reference=False,
        note="onnx's reference evaluator returns one number for all rows",
    ),
    _case(
        "SVMClassifier", (normal("N", 4),), BINARY, "binary", lambda x: torch.cat([-_svm("RBF", x), _svm("RBF", x)], 1)
    ),
    _case(
        "SVMClassifier",
        (normal("N", 4),),
        {**BINARY, "post_transform": "LOGISTIC"},
        "binary-logistic",
        lambda x: torch.sigmoid(torch.cat([-_svm("RBF", x), _svm("RBF", x)], 1)),
    ),
    _case(
        "SVMClassifier",
        (normal("N", 4),),
        {
            **BINARY,
            "vectors_per_class": [2, 2, 1],
            "classlabels_ints": [0, 1, 2],
            "coefficients": THREE,
            "rho": DECISIONS,
        },
        "pairs-of-three",
        _three,
    ),
    _case(
        "SVMClassifier",
        (normal("N", 4),),
        {
            "kernel_type": "LINEAR",
            "kernel_params": PARAMETERS,
            "coefficients": A,
            "rho": [0.3],
            "classlabels_ints": [0, 1, 2],
            "post_transform": "SOFTMAX",
        },
        "without-vectors",
        lambda x: torch.softmax(x @ _tensor(A).T + 0.3, 1),
    ),
]

CASES = [*FEATURES, *LINEAR, *MACHINES]
