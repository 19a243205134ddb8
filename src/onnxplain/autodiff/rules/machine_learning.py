"""Operators of ai.onnx.ml: linear models, support vector machines and what prepares their features.

Most are written out in standard operators, and the walk goes through those. Meanings are those of ONNX
Runtime where the standard leaves them open: what a binary classifier with a single score returns for its two
classes. Where the two contradict each other the operator is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..geometry.classifiers import (
    ML,
    feature_rows,
    float32_array,
    in_float32,
    kernel_values,
    linear_map,
    linear_scores,
    rank_of_features,
    regression,
    svm_scores,
    text_attribute,
)
from ..graph.emitter import Emitter
from ..graph.operator import NO_GRADIENT, Operator
from ..reverse.registry import Gradients, expands, refuses, vjp, zero

zero("Binarizer", domain=ML)
refuses(
    "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "LabelEncoder", "OneHotEncoder",
    "CategoryMapper", "DictVectorizer", "CastMap",
    domain=ML, advice=f"it computes steps, which have no gradient: {NO_GRADIENT}",
)  # fmt: skip


@vjp("Scaler", domain=ML)
def scaler(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (x - offset) scale, in float32; dx = dy scale."""
    rank_of_features(node, 0)
    scale: list[float] = node.attribute("scale", [])
    if not scale:
        raise node.refuse("scale", None, "give the attributes scale and offset")
    return _cast(emit, emit.Mul(dy, float32_array(scale)), node.input(0))


@vjp("Imputer", domain=ML)
def imputer(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x, or a constant where x is the replaced value (NaN included); dx = dy where it is not."""
    x, replaced = node.input(0), node.attribute("replaced_value_float", 0.0)
    missing = emit.IsNaN(x) if np.isnan(replaced) else emit.Equal(x, float(replaced))
    return emit.gate(emit.Not(missing), dy)


@expands("Normalizer", domain=ML)
def normalizer(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """y = x / n of every row, with n = max x, Σ |x| or √Σ x²; y = x where n = 0."""
    rank_of_features(node, 0)
    x, norm = in_float32(emit, node.input(0)), text_attribute(node, "norm", "MAX")
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
        x, extent = in_float32(emit, node.input(index)), emit.extent(node.input(index), 1)
        if extent != width:
            x = emit.Slice(x, [0], [width], [1])
            lacking = max(width - extent, 0) if isinstance(extent, int) else emit.Max(emit.Sub(width, extent), 0)
            x = x if lacking == 0 else emit.Pad(x, emit.vector([0, 0, 0, lacking]))
        parts.append(x)
    return [emit.Concat(*parts, axis=1)]


@expands("LinearRegressor", domain=ML)
def linear_regressor(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """y = x Aᵀ + b, and what post_transform makes of it."""
    y = regression(emit, node, node.attribute("targets", 1))
    transform = text_attribute(node, "post_transform", "NONE")
    if transform != "NONE" and node.attribute("targets", 1) == 1:
        raise node.refuse("post_transform", transform, "for one target ONNX Runtime leaves it out: set it to NONE")
    return [_transformed(emit, node, y)]


@expands("LinearClassifier", domain=ML)
def linear_classifier(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """z = post_transform of x Aᵀ + b; of a single score s for two classes: [1 - s, s], or σ([-s, s])."""
    return [None, _transformed(emit, node, linear_scores(emit, node))]


@expands("SVMRegressor", domain=ML)
def svm_regressor(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """y = Σ_v a_v k(x, v) + ρ, or x aᵀ + ρ without support vectors."""
    if node.attribute("one_class", 0):
        raise node.refuse("one_class", 1, f"a sign has no gradient: {NO_GRADIENT}")
    if (transform := text_attribute(node, "post_transform", "NONE")) != "NONE":
        raise node.refuse("post_transform", transform, "ONNX Runtime leaves it out: set it to NONE")
    coefficients = np.asarray(node.attribute("coefficients", [0.0]))
    count = node.attribute("n_supports", 0)
    if not count:
        return [linear_map(emit, feature_rows(emit, node), coefficients[:, None], [node.attribute("rho", [0.0])[0]])]
    distances = kernel_values(emit, node, count)
    return [linear_map(emit, distances, coefficients[:count, None], [node.attribute("rho", [0.0])[0]])]


@expands("SVMClassifier", domain=ML)
def svm_classifier(emit: Emitter, node: Operator) -> Sequence[ir.Value | None]:
    """z = post_transform of the decision values: one per pair of classes, or [-s, s] for two classes."""
    if "prob_a" in node.node.attributes:
        advice = "ONNX Runtime finds them by an iteration that it stops early: take score='logit'"
        raise node.refuse("prob_a", "calibrated probabilities", f"{advice}, or export without them (probability=False)")
    return [None, _transformed(emit, node, svm_scores(emit, node))]


def _transformed(emit: Emitter, node: Operator, scores: ir.Value) -> ir.Value:
    transform = text_attribute(node, "post_transform", "NONE")
    if transform == "NONE":
        return scores
    if transform == "LOGISTIC":
        return emit.Sigmoid(scores)
    if transform in ("SOFTMAX", "SOFTMAX_ZERO"):  # scores that are exactly zero are left out of the second
        return emit.Softmax(scores, axis=1)
    raise node.refuse("post_transform", transform, "use NONE, LOGISTIC, SOFTMAX or SOFTMAX_ZERO")


def _cast(emit: Emitter, dx: ir.Value, x: ir.Value) -> ir.Value:
    return dx if dx.dtype == x.dtype else emit.Cast(dx, to=x.dtype)
