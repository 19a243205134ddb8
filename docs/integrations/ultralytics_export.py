"""Explain what a YOLO finds: ``python ultralytics_export.py CONFIGURATION PHOTO FOLDER``; needs ultralytics.

The configuration is a file of weights (yolo11n.pt, trained) or of a network (yolo11n.yaml, untrained). Ultralytics
writes task, labels and size of the input into the ONNX file, so that neither layout nor preprocessing has to be stated.
"""

import sys
from pathlib import Path

from ultralytics import YOLO

import onnxplain


def main(configuration: str, photo: str, folder: str) -> None:
    path = YOLO(configuration).export(format="onnx", dynamic=True)
    explainer = onnxplain.Explainer(path)
    Path(folder).mkdir(exist_ok=True)
    for index, detection in enumerate(explainer.detect(photo, threshold=0.0, limit=3)):
        explainer.explain(photo, detection).save(Path(folder) / f"{index}.png")
        print(detection.title, detection.box)


if __name__ == "__main__":
    main(*sys.argv[1:])
