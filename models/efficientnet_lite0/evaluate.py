"""Accuracy of the bundled classifier on labelled photos, beside the float32 model it was quantised from.

    python models/efficientnet_lite0/evaluate.py FOLDER [--float FILE] [--filters]

FOLDER (default: the environment variable ONNXPLAIN_ZOO) holds ``photos/photos.csv`` and, if present,
``composites/composites.csv``, with columns ``file`` and ``imagenet_idx`` (0..999; rows without one are skipped).
The float32 model is written by ``export.py --float FILE``.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from onnxplain.photos import load_image, resolve_preprocessing
from onnxplain.photos.preprocessing import FILTERS, Preprocessing

MODEL = Path(__file__).resolve().parent / "efficientnet_lite0.onnx"


def labelled(folder: Path) -> list[tuple[Path, int]]:
    """Every photo of a known class, with its class index."""
    found = []
    for table in (folder / "photos" / "photos.csv", folder / "composites" / "composites.csv"):
        if table.is_file():
            with table.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["imagenet_idx"]]
            found += [(table.parent / row["file"], int(row["imagenet_idx"])) for row in rows]
    if not found:
        raise SystemExit(f"{folder} holds no labelled photos; see the first lines of this file")
    return found


def open_session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def logits(session: Any, preprocessing: Preprocessing, photos: list[Path]) -> NDArray[np.float32]:
    """Scores of every photo, [N,1000]."""
    tensors = [preprocessing.apply(load_image(photo))[0] for photo in photos]
    return np.concatenate([session.run(None, {"image": tensor[None]})[0] for tensor in tensors])


def accuracy(scores: NDArray[np.float32], classes: NDArray[np.int64]) -> str:
    ranks = (scores > np.take_along_axis(scores, classes[:, None], axis=1)).sum(axis=1)
    return f"top-1 {(ranks == 0).sum()} of {len(ranks)}, top-5 {(ranks < 5).sum()} of {len(ranks)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=os.environ.get("ONNXPLAIN_ZOO"))
    parser.add_argument("--float", type=Path, metavar="FILE", help="the float32 model to compare with")
    parser.add_argument("--filters", action="store_true", help="try every resize filter")
    arguments = parser.parse_args()
    if arguments.folder is None:
        parser.error("give a FOLDER, or set ONNXPLAIN_ZOO")
    found = labelled(Path(arguments.folder))
    photos, classes = [photo for photo, _ in found], np.array([index for _, index in found])
    session = open_session(MODEL)
    metadata = session.get_modelmeta().custom_metadata_map
    shape = session.get_inputs()[0].shape
    preprocessing = resolve_preprocessing(metadata=metadata, input_shape=shape).preprocessing
    scores = logits(session, preprocessing, photos)
    print(f"int8 ({preprocessing.filter}): {accuracy(scores, classes)}")
    if arguments.float:
        exact = logits(open_session(arguments.float), preprocessing, photos)
        same = (exact.argmax(axis=1) == scores.argmax(axis=1)).sum()
        correlation = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(exact, scores)])
        print(f"float32: {accuracy(exact, classes)}")
        print(f"same top-1 {same} of {len(photos)}, mean correlation of the 1000 logits {correlation:.4f}")
    for name in FILTERS if arguments.filters else ():
        scores = logits(session, preprocessing.replace(filter=name), photos)
        probability = np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        mean = np.take_along_axis(probability, classes[:, None], axis=1).mean()
        print(f"filter {name}: {accuracy(scores, classes)}, mean probability of the right class {mean:.4f}")


if __name__ == "__main__":
    main()
