"""OpenCV's DNN module, the new engine of version 5."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import exchange
import numpy as np


def load(model: Path, feeds: Mapping[str, np.ndarray], outputs: list[str]) -> Callable[[], dict[str, np.ndarray]]:
    """Read with the new engine; it returns all outputs or none."""
    net = cv2.dnn.readNetFromONNX(str(model), cv2.dnn.ENGINE_NEW)

    def run() -> dict[str, np.ndarray]:
        for name, array in feeds.items():
            net.setInput(array, name)
        return {name: np.asarray(array) for name, array in zip(outputs, net.forward(outputs))}

    return run


if __name__ == "__main__":
    exchange.serve(sys.argv[1:], cv2.__version__, load)
