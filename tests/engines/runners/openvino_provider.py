"""ONNX Runtime with OpenVINO as its execution provider, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import exchange
import numpy as np
import onnxruntime


def load(model: Path, feeds: Mapping[str, np.ndarray], outputs: list[str]) -> Callable[[], dict[str, np.ndarray]]:
    """A session whose first provider is OpenVINO."""
    options = {"device_type": "CPU", "precision": "FP32"}
    providers = [("OpenVINOExecutionProvider", options), "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(model), providers=providers)
    if "OpenVINOExecutionProvider" not in session.get_providers():
        raise RuntimeError("OpenVINOExecutionProvider is not used")
    return lambda: dict(zip(outputs, session.run(outputs, dict(feeds))))


if __name__ == "__main__":
    exchange.serve(sys.argv[1:], onnxruntime.__version__, load)
