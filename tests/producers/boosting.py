"""LightGBM and XGBoost through onnxmltools: trees have no gradient, so these models must be refused.

``pip install lightgbm xgboost onnxmltools skl2onnx``, then ``python tests/producers/boosting.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes, load_wine
from xgboost import XGBClassifier, XGBRegressor

from producers.fixture import store


def main() -> None:
    wine, diabetes = load_wine(return_X_y=True), load_diabetes(return_X_y=True)
    small = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1, "random_state": 0}
    quiet = {**small, "verbose": -1}
    models = {
        "lightgbm_classifier": (LGBMClassifier(**quiet), wine, convert_lightgbm),
        "lightgbm_regressor": (LGBMRegressor(**quiet), diabetes, convert_lightgbm),
        "xgboost_classifier": (XGBClassifier(**small), wine, convert_xgboost),
        "xgboost_regressor": (XGBRegressor(**small), diabetes, convert_xgboost),
    }
    for name, (model, (x, y), convert) in models.items():
        x = x.astype(np.float32)
        model.fit(x, y)
        proto = convert(model, initial_types=[("x", FloatTensorType([None, x.shape[1]]))], target_opset=15)
        operator = "TreeEnsembleClassifier" if "classifier" in name else "TreeEnsembleRegressor"
        packages = (name.split("_")[0], "onnxmltools", "onnx")
        store(f"boosting_{name}", proto, {"x": x[:2]}, script=__file__, packages=packages, refused=operator)


if __name__ == "__main__":
    main()
