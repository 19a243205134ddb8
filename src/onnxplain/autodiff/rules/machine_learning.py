"""Operators of ai.onnx.ml: linear models, support vector machines and what prepares their features.

Most are written out in standard operators, and the walk goes through those. Meanings are those of ONNX
Runtime where the standard leaves them open: what a binary classifier with a single score returns for its two
classes. Where the two contradict each other the operator is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import NO_GRADIENT, Operator
from ..reverse.registry import Gradients, expands, refuses, vjp, zero

ML = "ai.onnx.ml"

zero("Binarizer", domain=ML)
refuses(
    "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "LabelEncoder", "OneHotEncoder",
    "CategoryMapper", "DictVectorizer", "CastMap",
    domain=ML, advice=f"it computes steps, which have no gradient: {NO_GRADIENT}",
)  # fmt: skip


@vjp("Scaler", domain=ML)
def scaler(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (x - offset) scale, in float32; dx = dy scale."""
    _features(node, 0)
    scale: list[float] = node.attribute("scale", [])
    if not scale:
        raise node.refuse("scale", None, "give the attributes scale and offset")
    return _cast(emit, emit.Mul(dy, _constant(scale)), node.input(0))


@vjp("Imputer", domain=ML)
def imputer(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x, or a constant where x is the replaced value (NaN included); dx = dy where it is not."""
    x, replaced = node.input(0), node.attribute("replaced_value_float", 0.0)
    missing = emit.IsNaN(x) if np.isnan(replaced) else emit.Equal(x, float(replaced))
    return emit.gate(emit.Not(missing), dy)


@expands("Normalizer", domain=ML)
def normalizer(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """y = x / n of every row, with n = max x, Σ |x| or √Σ x²; y = x where n = 0."""
    _features(node, 0)
    x, norm = _float(emit, node.input(0)), _text(node, "norm", "MAX")
    if norm == "MAX":
        n = emit.ReduceMax(x, [-1], keepdims=1)
    elif norm in ("L1", "L2"):
        n = emit.ReduceSum(emit.Abs(x) if norm == "L1" else emit.Mul(x, x), [-1], keepdims=1)
    else:
        raise node.refuse("norm", norm, "use MAX, L1 or L2")
    n = emit.Add(n, emit.Cast(emit.Equal(n, 0.0), to=n.dtype))
    return [emit.Div(x, emit.Sqrt(n) if norm == "L2" else n)]


@expands("FeatureVectorizer", domain=ML)
def feature_vectorizer(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """y = the inputs [N, F_i] side by side, each cut or filled up with zeros to its dimension."""
    parts: list[ir.Value] = []
    widths: list[int] = node.attribute("inputdimensions", [])
    for index, width in enumerate(widths):
        if node.rank(index) != 2:
            raise node.refuse(f"rank of input {index}", node.rank(index), "give every input as [N, features]")
        x, extent = _float(emit, node.input(index)), emit.extent(node.input(index), 1)
        if extent != width:
            x = emit.Slice(x, [0], [width], [1])
            lacking = max(width - extent, 0) if isinstance(extent, int) else emit.Max(emit.Sub(width, extent), 0)
            x = x if lacking == 0 else emit.Pad(x, emit.vector([0, 0, 0, lacking]))
        parts.append(x)
    return [emit.Concat(*parts, axis=1)]


@expands("LinearRegressor", domain=ML)
def linear_regressor(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """y = x Aᵀ + b, and what post_transform makes of it."""
    y = _affine(emit, node, node.attribute("targets", 1))
    transform = _text(node, "post_transform", "NONE")
    if transform != "NONE" and node.attribute("targets", 1) == 1:
        raise node.refuse("post_transform", transform, "for one target ONNX Runtime leaves it out: set it to NONE")
    return [_transformed(emit, node, y)]


@expands("LinearClassifier", domain=ML)
def linear_classifier(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """z = post_transform of x Aᵀ + b; of a single score s for two classes: [1 - s, s], or σ([-s, s])."""
    return [None, _transformed(emit, node, linear_scores(emit, node))]


def linear_scores(emit: Emitter, node: Operator) -> ir.Value:
    """The scores [N, K] of a LinearClassifier before its post_transform."""
    s = _affine(emit, node, len(node.attribute("intercepts", [0.0])))
    if len(node.attribute("intercepts", [0.0])) > 1:
        return s
    if _text(node, "post_transform", "NONE") == "NONE":
        return emit.Concat(emit.Sub(1.0, s), s, axis=1)
    return _both_signs(emit, node, s)


@expands("SVMRegressor", domain=ML)
def svm_regressor(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """y = Σ_v a_v k(x, v) + ρ, or x aᵀ + ρ without support vectors."""
    if node.attribute("one_class", 0):
        raise node.refuse("one_class", 1, f"a sign has no gradient: {NO_GRADIENT}")
    if (transform := _text(node, "post_transform", "NONE")) != "NONE":
        raise node.refuse("post_transform", transform, "ONNX Runtime leaves it out: set it to NONE")
    coefficients = np.asarray(node.attribute("coefficients", [0.0]))
    count = node.attribute("n_supports", 0)
    if not count:
        return [_matmul(emit, _rows(emit, node), coefficients[:, None], [node.attribute("rho", [0.0])[0]])]
    kernels = _kernels(emit, node, count)
    return [_matmul(emit, kernels, coefficients[:count, None], [node.attribute("rho", [0.0])[0]])]


@expands("SVMClassifier", domain=ML)
def svm_classifier(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """z = post_transform of the decision values: one per pair of classes, or [-s, s] for two classes."""
    if "prob_a" in node.node.attributes:
        advice = "ONNX Runtime finds them by an iteration that it stops early: take score='logit'"
        raise node.refuse("prob_a", "calibrated probabilities", f"{advice}, or export without them (probability=False)")
    return [None, _transformed(emit, node, svm_scores(emit, node))]


def svm_scores(emit: Emitter, node: Operator) -> ir.Value:
    """The scores [N, K] of an SVMClassifier before its post_transform.

    Of the calibrated probabilities of two classes, σ(-(a s + b)) and σ(a s + b), it is what σ is taken of.
    """
    labels: list[object] = node.attribute("classlabels_ints", []) or node.attribute("classlabels_strings", [])
    counts: list[int] = node.attribute("vectors_per_class", [])
    slope: list[float] = node.attribute("prob_a", [])
    classes, coefficients = len(labels), np.asarray(node.attribute("coefficients", [0.0]))
    rho = node.attribute("rho", [0.0])
    if classes < 2:
        raise node.refuse("number of classes", classes, "give the labels of two classes or more")
    if not counts:
        return _matmul(emit, _rows(emit, node), coefficients.reshape(classes, -1).T, [rho[0]])
    pairs = classes * (classes - 1) // 2
    s = _matmul(emit, _kernels(emit, node, sum(counts)), _pairwise(coefficients, counts), rho[:pairs])
    if slope and classes > 2:
        advice = "no class has a score of its own before them: export the decision function (probability=False)"
        raise node.refuse("prob_a", f"calibrated probabilities of {classes} classes", advice)
    if slope:
        s = emit.Add(emit.Mul(s, float(slope[0])), float(node.attribute("prob_b", [0.0])[0]))
    elif classes > 2:
        return s
    elif _text(node, "post_transform", "NONE") != "NONE":
        return _both_signs(emit, node, s)
    return emit.Concat(emit.Neg(s), s, axis=1)


def _pairwise(coefficients: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """[V, P]: how much the kernel of every support vector counts in the decision between every two classes.

    ``coefficients`` [K-1, V] hold, for a vector of class c, its weight against each other class in order.
    """
    rows = coefficients[: (len(counts) - 1) * sum(counts)].reshape(len(counts) - 1, -1)
    owners = np.repeat(np.arange(len(counts)), counts)
    columns = [
        np.where(owners == i, rows[j - 1], 0) + np.where(owners == j, rows[i], 0)
        for i, j in itertools.combinations(range(len(counts)), 2)
    ]
    return np.stack(columns, axis=1)


def _kernels(emit: Emitter, node: Operator, count: int) -> ir.Value:
    """k(x, v) [N, V] of every row with every support vector.

    The distances of the RBF kernel are those between points moved to where the mean of the support vectors is
    zero, so that |x|² - 2 x·v + |v|² does not cancel.
    """
    x, kind = _rows(emit, node), _text(node, "kernel_type", "LINEAR")
    vectors = np.asarray(node.attribute("support_vectors", [0.0]), dtype=np.float64).reshape(count, -1)
    gamma, offset, degree = (float(v) for v in (node.attribute("kernel_params", []) or [0.0, 0.0, 3.0])[:3])
    if kind == "LINEAR":
        return _matmul(emit, x, vectors.T, None)
    if kind == "RBF":
        centre = vectors.mean(axis=0)
        vectors, x = vectors - centre, emit.Sub(x, _constant(centre))
        square = emit.ReduceSum(emit.Mul(x, x), [1], keepdims=1)
        dot = _matmul(emit, x, 2 * gamma * vectors.T, -gamma * np.sum(vectors**2, axis=1))
        return emit.Exp(emit.Sub(dot, emit.Mul(square, gamma)))
    inner = _matmul(emit, x, gamma * vectors.T, np.full(count, offset))
    if kind == "POLY":
        return emit.Pow(inner, degree)
    if kind == "SIGMOID":
        return emit.Tanh(inner)
    raise node.refuse("kernel_type", kind, "use LINEAR, POLY, RBF or SIGMOID")


def _transformed(emit: Emitter, node: Operator, scores: ir.Value) -> ir.Value:
    transform = _text(node, "post_transform", "NONE")
    if transform == "NONE":
        return scores
    if transform == "LOGISTIC":
        return emit.Sigmoid(scores)
    if transform in ("SOFTMAX", "SOFTMAX_ZERO"):  # scores that are exactly zero are left out of the second
        return emit.Softmax(scores, axis=1)
    raise node.refuse("post_transform", transform, "use NONE, LOGISTIC, SOFTMAX or SOFTMAX_ZERO")


def _both_signs(emit: Emitter, node: Operator, s: ir.Value) -> ir.Value:
    """The scores of two classes of which the model has one, before the logistic function."""
    transform = _text(node, "post_transform", "NONE")
    if transform != "LOGISTIC":
        raise node.refuse("post_transform", transform, "a single score of two classes has NONE or LOGISTIC")
    return emit.Concat(emit.Neg(s), s, axis=1)


def _affine(emit: Emitter, node: Operator, rows: int) -> ir.Value:
    weights = np.asarray(node.attribute("coefficients", [0.0])).reshape(rows, -1)
    return _matmul(emit, _rows(emit, node), weights.T, node.attribute("intercepts", []) or None)


def _matmul(emit: Emitter, x: ir.Value, weights: np.ndarray, bias: Sequence[float] | np.ndarray | None) -> ir.Value:
    return emit.Gemm(x, _constant(weights), None if bias is None else _constant(bias))


def _constant(numbers: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.asarray(numbers, dtype=np.float32)


def _features(node: Operator, index: int) -> int:
    """The rank of an input: one row of features, or rows of them."""
    rank = node.rank(index)
    if rank not in (1, 2):
        raise node.refuse(f"rank of input {index}", rank, "give it as [N, features]")
    return rank


def _rows(emit: Emitter, node: Operator) -> ir.Value:
    """The first input as float32 [N, F]; a vector is one row."""
    x = _float(emit, node.input(0))
    return emit.Unsqueeze(x, [0]) if _features(node, 0) == 1 else x


def _float(emit: Emitter, x: ir.Value) -> ir.Value:
    return x if x.dtype == ir.DataType.FLOAT else emit.Cast(x, to=ir.DataType.FLOAT)


def _cast(emit: Emitter, dx: ir.Value, x: ir.Value) -> ir.Value:
    return dx if dx.dtype == x.dtype else emit.Cast(dx, to=x.dtype)


def _text(node: Operator, name: str, default: str) -> str:
    return str(node.attribute(name, default))
