"""scikit-learn through skl2onnx: tabular data; the gradients are written out by hand in float64.

``pip install scikit-learn skl2onnx``, then ``python tests/producers/sklearn.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file must not be taken for the package it imports

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from producers.fixture import store


def save(
    name: str, model: Any, x: np.ndarray, target: Any, gradient: np.ndarray, options: Any = None, **stored: Any
) -> None:
    """``gradient`` [N, F] by hand, for the first rows of ``x``."""
    x = x[: len(target)]
    proto = to_onnx(model, x[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    gradients = {} if stored.get("refused") else {"X": gradient}
    packages = ("scikit-learn", "skl2onnx", "onnx")
    store(f"sklearn_{name}", proto, {"X": x}, target, gradients, script=__file__, packages=packages, **stored)


def kernel_slope(model: Any, z: np.ndarray) -> np.ndarray:
    """d/dz of Σ_v a_v exp(-γ |z - v|²), [N, F]."""
    offsets = z[:, None] - model.support_vectors_
    kernels = np.exp(-model._gamma * (offsets**2).sum(2)) * model.dual_coef_[0]
    return -2 * model._gamma * (kernels[:, :, None] * offsets).sum(1)


def backward(model: Any, z: np.ndarray, target: Any, slope: Any) -> np.ndarray:
    """Back-propagation through an MLP's layers; ``slope`` of its activation in terms of the activation."""
    layers = [z]
    for weight, bias in zip(model.coefs_[:-1], model.intercepts_[:-1]):
        z = layers[-1] @ weight + bias
        layers.append(np.maximum(z, 0) if model.activation == "relu" else np.tanh(z))
    dz = model.coefs_[-1][:, target].T
    for weight, layer in zip(model.coefs_[-2::-1], layers[:0:-1]):
        dz = (dz * slope(layer)) @ weight.T
    return dz


def main() -> None:
    wine, cancer, digits, diabetes = (
        loader(return_X_y=True) for loader in (load_wine, load_breast_cancer, load_digits, load_diabetes)
    )
    wx, cx, dx, bx = (data[0].astype(np.float32) for data in (wine, cancer, digits, diabetes))
    wy, cy, dy, by = wine[1], cancer[1], digits[1], diabetes[1]
    rng = np.random.default_rng(0)
    order = {len(x): rng.permutation(len(x)) for x in (wx, cx, dx, bx)}
    wx, cx, dx, bx = (x[order[len(x)]] for x in (wx, cx, dx, bx))
    wy, cy, dy, by = (y[order[len(y)]] for y in (wy, cy, dy, by))
    three, two = np.array([0, 1, 2, 1]), np.array([0, 1, 1, 0])
    sign = np.where(two == 1, 1.0, -1.0)[:, None]

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(wx, wy)
    gradient = model[-1].coef_[three] / model[0].scale_
    save("logistic_wine_zipmap", model, wx, three, gradient)

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(cx, cy)
    gradient = sign * model[-1].coef_[0] / model[0].scale_
    save("logistic_cancer_zipmap", model, cx, two, gradient)

    model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())).fit(wx, wy)
    p = np.array([e.predict_proba(model[0].transform(wx[:4]))[:, 1] for e in model[-1].estimators_]).T
    slopes = p[:, :, None] * (1 - p[:, :, None]) * np.array([e.coef_[0] for e in model[-1].estimators_])
    total, row = p.sum(1)[:, None], np.arange(4)
    gradient = (slopes[row, three] / total - p[row, three][:, None] * slopes.sum(1) / total**2) / model[0].scale_
    options = {id(model): {"zipmap": False}}
    save("one_vs_rest_wine", model, wx, three, gradient, options, score="probability")

    model = make_pipeline(SimpleImputer(), StandardScaler(), PCA(5), LogisticRegression()).fit(wx, wy)
    gradient = model[-1].coef_[three] @ model[2].components_ / model[1].scale_
    save("imputer_pca_logistic_wine", model, wx, three, gradient, {id(model): {"zipmap": False}})

    model = make_pipeline(Normalizer("l2"), LogisticRegression()).fit(wx, wy)
    x = wx[:4].astype(np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    w = model[-1].coef_[three]
    gradient = w / norm - x * (w * x).sum(1, keepdims=True) / norm**3
    save("normalizer_logistic_wine", model, wx, three, gradient, {id(model): {"zipmap": False}})

    model = MLPClassifier((24, 16), random_state=0, max_iter=60).fit(dx / 16, dy)
    target = np.array([3, 8, 0])
    gradient = backward(model, dx[:3].astype(np.float64) / 16, target, lambda y: y > 0)
    save("mlp_digits", model, dx / 16, target, gradient, {id(model): {"zipmap": False}})

    model = make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(16, 8), activation="tanh", random_state=0, max_iter=300)
    ).fit(bx, by / 100)
    zero = np.zeros(3, dtype=int)
    gradient = backward(model[-1], model[0].transform(bx[:3]), zero, lambda y: 1 - y**2) / model[0].scale_
    save("mlp_regressor_diabetes", model, bx, zero, gradient)

    model = make_pipeline(PolynomialFeatures(2), Ridge()).fit(bx * 10, by)
    powers, x = model[0].powers_, bx[:3].astype(np.float64) * 10
    terms = [
        powers[:, f] * np.prod(x[:, None] ** np.maximum(powers - np.eye(10, dtype=int)[f], 0), axis=2)
        for f in range(10)
    ]
    gradient = np.stack([term @ model[-1].coef_.ravel() for term in terms], axis=1)
    save("polynomial_ridge_diabetes", model, bx * 10, zero, gradient)

    model = make_pipeline(StandardScaler(), SVC(gamma=0.05)).fit(cx[:200], cy[:200])
    gradient = sign * kernel_slope(model[-1], model[0].transform(cx[:4])) / model[0].scale_
    # Without calibration the file has the decision value in the column of class 0, and its negative in that of 1.
    save("svc_rbf_cancer", model, cx, two, -gradient, {id(model): {"zipmap": False}})

    model[-1].set_params(probability=True)
    model.fit(cx[:200], cy[:200])
    gradient = sign * kernel_slope(model[-1], model[0].transform(cx[:4])) / model[0].scale_
    save("svc_calibrated_cancer", model, cx, two, -model[-1].probA_ * gradient, {id(model): {"zipmap": False}})

    model = make_pipeline(StandardScaler(), SVR(gamma=0.1, C=50)).fit(bx[:200], by[:200])
    gradient = kernel_slope(model[-1], model[0].transform(bx[:3])) / model[0].scale_
    save("svr_rbf_diabetes", model, bx, zero, gradient)

    model = LinearSVC().fit(dx / 16, dy)  # skl2onnx 1.20 cannot convert a pipeline that ends in one
    save("linear_svc_digits", model, dx / 16, target, model.coef_[target])

    model = make_pipeline(StandardScaler(), GaussianNB()).fit(wx, wy)
    z = model[0].transform(wx[:4])
    logits = -(z[:, None] - model[-1].theta_) / model[-1].var_
    p = model[-1].predict_proba(z)
    gradient = (logits[row, three] - (p[:, :, None] * logits).sum(1)) * p[row, three][:, None] / model[0].scale_
    save("naive_bayes_wine", model, wx, three, gradient, {id(model): {"zipmap": False}}, score="probability")

    model = GaussianProcessRegressor(RBF(1.5), alpha=0.5, optimizer=None).fit(
        dx[:40, 18:30:2] / 16, dy[:40, None] / 10.0
    )
    x = dx[:3, 18:30:2].astype(np.float64) / 16
    offsets = x[:, None] - model.X_train_
    weights = np.exp(-0.5 * (offsets**2).sum(2) / 1.5**2) * model.alpha_.ravel()
    gradient = -(weights[:, :, None] * offsets).sum(1) / 1.5**2
    save("gaussian_process_digits", model, x.astype(np.float32), zero, gradient)

    model = RandomForestClassifier(3, max_depth=4, random_state=0).fit(wx, wy)
    save("refused_forest_wine", model, wx, three, np.empty(0), refused="TreeEnsembleClassifier")


if __name__ == "__main__":
    main()
