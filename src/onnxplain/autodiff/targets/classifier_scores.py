"""The scores that a classifier of ai.onnx.ml makes its probabilities of, where it is one node that does both."""

from __future__ import annotations

import onnx_ir as ir

from ..geometry.classifiers import ML, linear_scores, svm_scores
from ..graph.emitter import Emitter
from ..graph.operator import Operator

_SCORES = {"LinearClassifier": linear_scores, "SVMClassifier": svm_scores}
#: Operators that only rename or retype.
_TAIL = {"Identity", "Cast"}
_TREES = {"TreeEnsembleClassifier"}


def classifier_scores(emit: Emitter, output: ir.Value) -> tuple[ir.Value, str] | None:
    """The scores [N, K] before the softmax or logistic function inside the classifier that made ``output``.

    They are computed beside the classifier, by nodes that ``emit`` appends; also returned is what makes
    probabilities of them, "softmax" or "sigmoid". A division by the sum of a row's probabilities in between is
    looked through. None if no such classifier made ``output``.

    Raises:
        UnsupportedOperatorError: the classifier's classes have no scores.
    """
    node = _classifier(output)
    if node is None or node.op_type not in _SCORES or not _makes_probabilities(node):
        return None
    transform = node.attributes.get_string("post_transform", "NONE")
    scores = _SCORES[node.op_type](emit, Operator(node, emit.graph.opset_imports, lambda value: False))
    return scores, "softmax" if transform.startswith("SOFTMAX") else "sigmoid"


def are_probabilities(value: ir.Value) -> bool:
    """Whether a classifier of ai.onnx.ml made probabilities of the classes of ``value``."""
    node = _classifier(value)
    return node is not None and _makes_probabilities(node)


def _classifier(value: ir.Value) -> ir.Node | None:
    """The classifier that computed the class scores ``value``."""
    while (node := value.producer()) is not None and node.inputs[0] is not None:
        if node.domain == ML and node.op_type in _SCORES.keys() | _TREES:
            return None if value is node.outputs[0] else node
        normalizer = node.domain == ML and node.op_type == "Normalizer" and node.attributes.get_string("norm") == "L1"
        if not normalizer and (node.domain not in ("", "ai.onnx") or node.op_type not in _TAIL):
            return None
        value = node.inputs[0]
    return None


def _makes_probabilities(classifier: ir.Node) -> bool:
    """Trees always do, if not by a function then by shares of votes in their leaves."""
    transform = classifier.attributes.get_string("post_transform", "NONE")
    calibrated = "prob_a" in classifier.attributes and transform == "NONE"
    return classifier.op_type in _TREES or calibrated or transform in ("LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")
