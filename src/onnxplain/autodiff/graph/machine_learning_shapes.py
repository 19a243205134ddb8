"""Shapes of the outputs of ai.onnx.ml that ONNX's own inference leaves open."""

from __future__ import annotations

import onnx_ir as ir

#: Shaped like their input.
ML_LIKE_FIRST = {"Scaler", "Normalizer", "Imputer"}
#: One row of float scores per row of features; the output that holds them.
_SCORES = {
    "LinearRegressor": 0, "LinearClassifier": 1, "SVMRegressor": 0, "SVMClassifier": 1, "FeatureVectorizer": 0,
    "TreeEnsembleClassifier": 1, "TreeEnsembleRegressor": 0, "TreeEnsemble": 0,
}  # fmt: skip


def machine_learning_shape(node: ir.Node, index: int) -> list[int | ir.SymbolicDim | None] | None:
    """Return the shape of output ``index``, None in place of an extent that is not known; None if nothing is."""
    x = node.inputs[0]
    if node.op_type not in _SCORES or index > _SCORES[node.op_type] or x is None or x.shape is None:
        return None
    rows = x.shape[0] if len(x.shape) > 1 else 1
    return [rows, _columns(node)] if index == _SCORES[node.op_type] else [rows]


def _columns(node: ir.Node) -> int | None:
    attributes = node.attributes
    if node.op_type == "FeatureVectorizer":
        return sum(_ints(node, "inputdimensions"))
    if node.op_type in ("LinearRegressor", "TreeEnsembleRegressor", "TreeEnsemble"):
        return attributes.get_int("targets" if node.op_type == "LinearRegressor" else "n_targets", 1)
    if node.op_type == "SVMRegressor":
        return 1
    strings = attributes.get("classlabels_strings")
    numbers = "classlabels_int64s" if node.op_type == "TreeEnsembleClassifier" else "classlabels_ints"
    classes = len(strings.as_strings()) if strings is not None else len(_ints(node, numbers))
    paired = node.op_type == "SVMClassifier" and "vectors_per_class" in attributes and "prob_a" not in attributes
    return classes * (classes - 1) // 2 if paired and classes > 2 else classes


def _ints(node: ir.Node, name: str) -> list[int]:
    attribute = node.attributes.get(name)
    return [] if attribute is None else [int(v) for v in attribute.as_ints()]
