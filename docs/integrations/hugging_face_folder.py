"""Explain the model of a Hugging Face folder: ``python hugging_face_folder.py FOLDER PHOTO PICTURE``.

The folder has model.onnx, preprocessor_config.json (size, mean, order of resizing and cropping) and config.json with
id2label; nothing else has to be stated. `optimum-cli export onnx --model NAME FOLDER` writes such a folder.
"""

import sys
from pathlib import Path

import onnxplain


def main(folder: str, photo: str, picture: str) -> None:
    explainer = onnxplain.Explainer(Path(folder) / "model.onnx")
    explanation = explainer.explain(photo)
    explanation.save(picture)
    print(explanation.title)


if __name__ == "__main__":
    main(*sys.argv[1:])
