"""ai.onnx.ml: scores inside classifiers, ZipMap, refusals, and the scikit-learn models of the zoo."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import onnxplain

ML = "ai.onnx.ml"
ZOO = os.environ.get("ONNXPLAIN_ZOO")
X = np.array([[0.7, -0.2], [-0.5, 0.4], [0.1, 1.3]], dtype=np.float32)
LINEAR: dict[str, Any] = {"coefficients": [1.5, -0.5, 0.25, 2.0, -1.0, 0.75], "intercepts": [0.1, 0.2, -0.3]}
SVM: dict[str, Any] = {
    "coefficients": [1.0, -2.0], "rho": [0.1], "support_vectors": [1.0, 0.0, 0.0, 1.0],
    "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 3.0],
}  # fmt: skip
PAIR: dict[str, Any] = {**SVM, "vectors_per_class": [1, 1], "classlabels_ints": [0, 1]}


def model(op_type: str, *tail: onnx.NodeProto, x: tuple[Any, ...] = ("N", 2), **attributes: Any) -> onnx.ModelProto:
    """One operator of ai.onnx.ml on ``x`` [N, 2] and what follows it; the output is the last one's."""
    outputs = ["label", "z"] if op_type.endswith("Classifier") else ["z"]
    nodes = [helper.make_node(op_type, ["x"], outputs, name="node", domain=ML, **attributes), *tail]
    result = helper.make_tensor_value_info(nodes[-1].output[-1], TensorProto.FLOAT, None)
    if nodes[-1].op_type == "ZipMap":
        entry = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, ()))
        result = helper.make_value_info(nodes[-1].output[0], helper.make_sequence_type_proto(entry))
    graph = helper.make_graph([*nodes], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)], [result])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def zip_map(of: str = "z") -> onnx.NodeProto:
    return helper.make_node("ZipMap", [of], ["maps"], domain=ML, classlabels_int64s=[0, 1, 2])


def session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])


def scores(proto: onnx.ModelProto, target: list[int], **options: Any) -> np.ndarray:
    runner = session(onnxplain.differentiate(proto, **options))
    return np.asarray(runner.run(["score"], {"x": X, "target": np.array(target)})[0])


def check_finite_differences(proto: onnx.ModelProto, name: str, x: np.ndarray, target: np.ndarray, step: Any) -> None:
    runner = session(proto)

    def score(at: np.ndarray) -> np.ndarray:
        return np.asarray(runner.run(["score"], {name: at.astype(np.float32), "target": target})[0], dtype=np.float64)

    gradient = runner.run([f"grad_{name}"], {name: x, "target": target})[0]
    rng = np.random.default_rng(0)
    for _ in range(3):
        v = rng.standard_normal(x.shape) * step
        slope = (score(x + v) - score(x - v)) / 2
        np.testing.assert_allclose((gradient * v).sum(1), slope, rtol=0.01, atol=1e-3 * np.abs(slope).max())


@pytest.mark.parametrize("transform", ["SOFTMAX", "SOFTMAX_ZERO", "LOGISTIC"])
@pytest.mark.parametrize("normalised", [False, True])
def test_logit_is_what_the_classifier_makes_probabilities_of(transform: str, normalised: bool) -> None:
    tail = [helper.make_node("Normalizer", ["z"], ["p"], domain=ML, norm="L1")] if normalised else []
    proto = model("LinearClassifier", *tail, **LINEAR, classlabels_ints=[0, 1, 2], post_transform=transform)
    expected = X @ np.array(LINEAR["coefficients"]).reshape(3, 2).T + np.array(LINEAR["intercepts"])
    np.testing.assert_allclose(scores(proto, [2, 0, 1]), expected[range(3), [2, 0, 1]], rtol=1e-5)
    plain = session(proto).run(None, {"x": X})[0]
    np.testing.assert_allclose(scores(proto, [2, 0, 1], score="probability"), plain[range(3), [2, 0, 1]], rtol=1e-5)


def test_scores_of_two_classes_are_opposite() -> None:
    one = {"coefficients": [1.5, -0.5], "intercepts": [0.1], "classlabels_ints": [0, 1], "post_transform": "LOGISTIC"}
    expected = X @ np.array([1.5, -0.5]) + 0.1
    proto = model("LinearClassifier", **one)
    np.testing.assert_allclose(scores(proto, [1, 1, 1]), expected, rtol=1e-5)
    np.testing.assert_allclose(scores(proto, [0, 0, 0]), -expected, rtol=1e-5)


@pytest.mark.parametrize("transform", [{"post_transform": "LOGISTIC"}, {"prob_a": [-1.5], "prob_b": [0.2]}])
def test_scores_of_a_support_vector_machine(transform: dict[str, Any]) -> None:
    """σ of them are the probabilities: exactly, or as nearly as ONNX Runtime's iteration comes."""
    proto = model("SVMClassifier", **PAIR, **transform)
    plain = session(proto).run(None, {"x": X})[0]
    found = 1 / (1 + np.exp(-np.stack([scores(proto, [c] * 3) for c in (0, 1)], axis=1)))
    np.testing.assert_allclose(found, plain, atol=5e-3 if "prob_a" in transform else 1e-6)


@pytest.mark.parametrize("stated", [False, True], ids=["maps", "tensor-too"])
def test_zip_map_stays_at_the_end(stated: bool) -> None:
    proto = model("LinearClassifier", zip_map(), **LINEAR, classlabels_ints=[0, 1, 2], post_transform="SOFTMAX")
    if stated:
        proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("N", 3)))
    before = proto.SerializeToString()
    result = onnxplain.differentiate(proto)
    assert proto.SerializeToString() == before
    onnx.checker.check_model(result, full_check=True)
    outputs = [value.name for value in proto.graph.output]
    assert [value.name for value in result.graph.output] == [*outputs, "score", "grad_x"]
    feeds = {"x": X, "target": np.array([0, 1, 2])}
    assert session(result).run(["maps"], feeds) == session(proto).run(["maps"], {"x": X})
    check_finite_differences(result, "x", X, feeds["target"], 1e-2)


def test_explainer_reads_the_tensor_before_a_zip_map() -> None:
    proto = model("LinearClassifier", zip_map(), **LINEAR, classlabels_ints=[0, 1, 2], post_transform="SOFTMAX")
    explainer = onnxplain.Explainer(proto)
    weights = np.array(LINEAR["coefficients"]).reshape(3, 2)
    labels = np.argmax(X @ weights.T + np.array(LINEAR["intercepts"]), axis=1)
    np.testing.assert_allclose(explainer.attribute(X), weights[labels], rtol=1e-5)


REFUSED: dict[str, Callable[[], onnx.ModelProto]] = {
    "PROBIT": lambda: model("LinearClassifier", **LINEAR, classlabels_ints=[0, 1, 2], post_transform="PROBIT"),
    "a single score of two classes": lambda: model(
        "LinearClassifier", coefficients=[1.0, 2.0], intercepts=[0.0], classlabels_ints=[0, 1], post_transform="SOFTMAX"
    ),
    "for one target ONNX Runtime leaves it out": lambda: model(
        "LinearRegressor", coefficients=[1.0, 2.0], post_transform="LOGISTIC"
    ),
    "ONNX Runtime leaves it out": lambda: model("SVMRegressor", **SVM, n_supports=2, post_transform="LOGISTIC"),
    "a sign has no gradient: use a perturbation method": lambda: model(
        "SVMRegressor", **SVM, n_supports=2, one_class=1
    ),
    "calibrated probabilities of 3 classes": lambda: model(
        "SVMClassifier",
        **{**SVM, "coefficients": [1.0] * 6, "support_vectors": [0.5] * 6, "rho": [0.1] * 3},
        vectors_per_class=[1, 1, 1],
        classlabels_ints=[0, 1, 2],
        prob_a=[1.0] * 3,
        prob_b=[0.0] * 3,
    ),
    "number of classes": lambda: model("SVMClassifier", **SVM, classlabels_ints=[0]),
    "kernel_type": lambda: model("SVMRegressor", **{**SVM, "kernel_type": "COSINE"}, n_supports=2),
    "norm = 'L3'": lambda: model("Normalizer", norm="L3"),
    "rank of input 0": lambda: model("Scaler", x=("N", 2, 3), scale=[1.0], offset=[0.0]),
    "give the attributes scale and offset": lambda: model("Scaler"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_name_what_and_why(message: str) -> None:
    with pytest.raises(onnxplain.UnsupportedOperatorError, match=r"ai\.onnx\.ml::.*node 'node'") as error:
        onnxplain.differentiate(REFUSED[message](), target=None if "3 classes" in message else "cotangent")
    assert message in str(error.value)


def test_calibrated_probabilities_themselves_are_refused() -> None:
    proto = model("SVMClassifier", **PAIR, prob_a=[-1.5], prob_b=[0.2])
    with pytest.raises(onnxplain.UnsupportedOperatorError, match="score='logit'"):
        onnxplain.differentiate(proto, score="probability")


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("LabelEncoder", {"keys_floats": [0.0], "values_floats": [1.0]}),
        ("OneHotEncoder", {"cats_int64s": [0, 1]}),
        ("TreeEnsembleRegressor", {"n_targets": 1}),
        ("TreeEnsembleClassifier", {"classlabels_int64s": [0, 1]}),
    ],
)
def test_steps_are_refused_with_the_advice_to_perturb(op_type: str, attributes: dict[str, Any]) -> None:
    proto = model(op_type, **attributes)
    proto.opset_import[1].version = 2 if op_type == "LabelEncoder" else 1
    with pytest.raises(onnxplain.UnsupportedOperatorError, match=rf"{op_type}.*use a perturbation method"):
        onnxplain.differentiate(proto, target="cotangent")


@pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")
@pytest.mark.parametrize("name", ["breast_cancer_logreg_zipmap_sklearn", "digits_mlp_sklearn"])
def test_models_of_the_zoo_agree_with_finite_differences(name: str) -> None:
    path = Path(ZOO or "") / "models" / f"{name}.onnx"
    proto = onnx.load(path)
    features = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    scaler = next((n for n in proto.graph.node if n.op_type == "Scaler"), None)
    x, spread = np.random.default_rng(1).uniform(0, 1, (3, features)), np.full(features, 2e-3)
    if scaler is not None:  # around the mean of the training data
        about = {a.name: np.array(a.floats) for a in scaler.attribute}
        x, spread = about["offset"] + (x - 0.5) / about["scale"], 0.05 / about["scale"]
    result = onnxplain.differentiate(path)
    assert [v.name for v in result.graph.output][:2] == [v.name for v in proto.graph.output]
    check_finite_differences(result, "X", x.astype(np.float32), np.array([1, 0, 1]), spread)
