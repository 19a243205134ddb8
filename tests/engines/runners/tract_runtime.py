"""tract, the Rust library, through its Python package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import exchange
import numpy as np
import tract


def load(model: Path, feeds: Mapping[str, np.ndarray], outputs: list[str]) -> Callable[[], dict[str, np.ndarray]]:
    """Load with the symbolic dimensions that the file states."""
    loaded = tract.onnx().load(str(model))
    names = [loaded.input_name(index) for index in range(loaded.input_count())]
    runnable = loaded.into_model().into_runnable()

    def run() -> dict[str, np.ndarray]:
        found = runnable.run([np.array(feeds[name]) for name in names])
        return {name: tensor.to_numpy() for name, tensor in zip(outputs, found)}

    return run


if __name__ == "__main__":
    exchange.serve(sys.argv[1:], tract.version(), load)
