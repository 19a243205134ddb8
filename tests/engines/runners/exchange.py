"""How tensors pass between the tests and an engine's own environment: raw bytes, and a list of what they are.

A folder has ``model.onnx`` and ``feeds.json``: name, type, shape and file of every input, and ``outputs``, the names of
the outputs in the order of the file. A runner writes ``found.json`` in the same way, with the engine's version and the
seconds that one run takes. It needs NumPy alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def read(folder: Path, listed: str) -> dict[str, np.ndarray]:
    """The tensors of a list."""
    entries = json.loads((folder / listed).read_text())["tensors"]
    return {
        e["name"]: np.frombuffer((folder / e["file"]).read_bytes(), dtype=e["dtype"]).reshape(e["shape"])
        for e in entries
    }


def write(folder: Path, listed: str, tensors: Mapping[str, np.ndarray], **facts: object) -> None:
    """A list, and the tensors."""
    entries = []
    for index, (name, array) in enumerate(tensors.items()):
        file = f"{listed}.{index}.bin"
        (folder / file).write_bytes(np.ascontiguousarray(array).tobytes())
        entries.append({"name": name, "dtype": str(array.dtype), "shape": list(array.shape), "file": file})
    (folder / listed).write_text(json.dumps({"tensors": entries, **facts}))


def seconds(run: Callable[[], object], rounds: int) -> float:
    """The shortest of some runs."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def outputs(folder: Path) -> list[str]:
    """The names of the outputs, in the order of the file."""
    names: list[Any] = json.loads((folder / "feeds.json").read_text())["outputs"]
    return [str(name) for name in names]


def serve(arguments: list[str], version: str, load: Callable[..., Callable[[], Mapping[str, np.ndarray]]]) -> None:
    """Run the folders that the arguments name; the first argument is how many runs to time.

    ``load(model, feeds, outputs)`` returns what runs the model once and returns its outputs by name.
    """
    for path in arguments[1:]:
        folder = Path(path)
        run = load(folder / "model.onnx", read(folder, "feeds.json"), outputs(folder))
        found = run()
        write(folder, "found.json", found, version=version, seconds=seconds(run, int(arguments[0])))
