"""The scores of the linear models and support vector machines of ai.onnx.ml, in standard operators.

Rules walk through them, and targets take them for the scores that a classifier makes its probabilities of. Meanings are
those of ONNX Runtime where the standard leaves them open.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator

#: The domain of classical machine learning.
ML = "ai.onnx.ml"


def linear_scores(emit: Emitter, node: Operator) -> ir.Value:
    """Return the scores [N, K] of a LinearClassifier before its post_transform."""
    s = regression(emit, node, len(node.attribute("intercepts", [0.0])))
    if len(node.attribute("intercepts", [0.0])) > 1:
        return s
    if text_attribute(node, "post_transform", "NONE") == "NONE":
        return emit.Concat(emit.Sub(1.0, s), s, axis=1)
    return _both_signs(emit, node, s)


def svm_scores(emit: Emitter, node: Operator) -> ir.Value:
    """Return the scores [N, K] of an SVMClassifier before its post_transform.

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
        return linear_map(emit, feature_rows(emit, node), coefficients.reshape(classes, -1).T, [rho[0]])
    pairs = classes * (classes - 1) // 2
    s = linear_map(emit, kernel_values(emit, node, sum(counts)), _pairwise(coefficients, counts), rho[:pairs])
    if slope and classes > 2:
        advice = "no class has a score of its own before them: export the decision function (probability=False)"
        raise node.refuse("prob_a", f"calibrated probabilities of {classes} classes", advice)
    if slope:
        s = emit.Add(emit.Mul(s, float(slope[0])), float(node.attribute("prob_b", [0.0])[0]))
    elif classes > 2:
        return s
    elif text_attribute(node, "post_transform", "NONE") != "NONE":
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


def kernel_values(emit: Emitter, node: Operator, count: int) -> ir.Value:
    """k(x, v) [N, V] of every row with every support vector.

    The distances of the RBF kernel are those between points moved to where the mean of the support vectors is
    zero, so that |x|² - 2 x·v + |v|² does not cancel.
    """
    x, kind = feature_rows(emit, node), text_attribute(node, "kernel_type", "LINEAR")
    vectors = np.asarray(node.attribute("support_vectors", [0.0]), dtype=np.float64).reshape(count, -1)
    gamma, offset, degree = (float(v) for v in (node.attribute("kernel_params", []) or [0.0, 0.0, 3.0])[:3])
    if kind == "LINEAR":
        return linear_map(emit, x, vectors.T, None)
    if kind == "RBF":
        centre = vectors.mean(axis=0)
        vectors, x = vectors - centre, emit.Sub(x, float32_array(centre))
        square = emit.ReduceSum(emit.Mul(x, x), [1], keepdims=1)
        dot = linear_map(emit, x, 2 * gamma * vectors.T, -gamma * np.sum(vectors**2, axis=1))
        return emit.Exp(emit.Sub(dot, emit.Mul(square, gamma)))
    inner = linear_map(emit, x, gamma * vectors.T, np.full(count, offset))
    if kind == "POLY":
        return emit.Pow(inner, degree)
    if kind == "SIGMOID":
        return emit.Tanh(inner)
    raise node.refuse("kernel_type", kind, "use LINEAR, POLY, RBF or SIGMOID")


def _both_signs(emit: Emitter, node: Operator, s: ir.Value) -> ir.Value:
    """The scores of two classes of which the model has one, before the logistic function."""
    transform = text_attribute(node, "post_transform", "NONE")
    if transform != "LOGISTIC":
        raise node.refuse("post_transform", transform, "a single score of two classes has NONE or LOGISTIC")
    return emit.Concat(emit.Neg(s), s, axis=1)


def regression(emit: Emitter, node: Operator, rows: int) -> ir.Value:
    """Return x Aᵀ + b [N, rows] for the node's coefficients A and intercepts b."""
    weights = np.asarray(node.attribute("coefficients", [0.0])).reshape(rows, -1)
    return linear_map(emit, feature_rows(emit, node), weights.T, node.attribute("intercepts", []) or None)


def linear_map(emit: Emitter, x: ir.Value, weights: np.ndarray, bias: Sequence[float] | np.ndarray | None) -> ir.Value:
    """Return x W + b in float32."""
    return emit.Gemm(x, float32_array(weights), None if bias is None else float32_array(bias))


def float32_array(numbers: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the numbers as float32."""
    return np.asarray(numbers, dtype=np.float32)


def rank_of_features(node: Operator, index: int) -> int:
    """Return the rank of an input: 1 for a row of features, 2 for rows of them.

    Raises:
        UnsupportedOperatorError: it has another rank.
    """
    rank = node.rank(index)
    if rank not in (1, 2):
        raise node.refuse(f"rank of input {index}", rank, "give it as [N, features]")
    return rank


def feature_rows(emit: Emitter, node: Operator) -> ir.Value:
    """Return the first input as float32 [N, F]; a vector is one row."""
    x = in_float32(emit, node.input(0))
    return emit.Unsqueeze(x, [0]) if rank_of_features(node, 0) == 1 else x


def in_float32(emit: Emitter, x: ir.Value) -> ir.Value:
    """Return x cast to float32, if it is of another type."""
    return x if x.dtype == ir.DataType.FLOAT else emit.Cast(x, to=ir.DataType.FLOAT)


def text_attribute(node: Operator, name: str, default: str) -> str:
    """Return an attribute that is a string."""
    return str(node.attribute(name, default))
