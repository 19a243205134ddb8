"""Log a model and an explanation to MLflow: ``python mlflow_model.py MODEL PHOTO``; needs mlflow.

The run has the ONNX model, the picture and the facts of the explanation as artifacts, and the score as a metric.
"""

import sys

import mlflow
import onnx

import onnxplain


def main(model: str, photo: str) -> None:
    explanation = onnxplain.Explainer(model).explain(photo)
    with mlflow.start_run():
        mlflow.onnx.log_model(onnx.load(model), name="model")
        mlflow.log_image(explanation.picture("panel"), "explanation.png")
        mlflow.log_dict(explanation.to_dict(), "explanation.json")
        mlflow.log_metric("score", explanation.score)


if __name__ == "__main__":
    main(*sys.argv[1:])
