"""OpenVINO's own runtime, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import exchange
import numpy as np
import openvino


def load(model: Path, feeds: Mapping[str, np.ndarray], outputs: list[str]) -> Callable[[], dict[str, np.ndarray]]:
    """Compile for the CPU in float32."""
    compiled = openvino.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    named = {name: output for output in compiled.outputs for name in output.names}

    def run() -> dict[str, np.ndarray]:
        found = request.infer(dict(feeds))
        return {name: np.asarray(found[named[name]]) for name in outputs}

    return run


if __name__ == "__main__":
    exchange.serve(sys.argv[1:], openvino.__version__.split("-")[0], load)
