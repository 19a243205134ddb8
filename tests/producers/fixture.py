"""A fixture: a model of some producer, inputs, and the producer's own gradient, in two small files.

``fixtures/<name>.onnx`` is the model as the producer exported it, without the source paths that exporters
leave in documentation strings and metadata. ``fixtures/<name>.npz`` holds the rest. This module needs numpy
and onnx only, so that every producer's environment can write fixtures and the tests' can read them.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

FOLDER = Path(__file__).parent / "fixtures"
LARGEST = 150_000
#: Paths of any machine, and the names that files have in one.
_PATHS = re.compile(rb"(/(home|root|usr|tmp|work|var|opt|Users|mnt)/|[A-Za-z]:\\|site-packages|[\w/]+\.py\b)")


@dataclass(frozen=True)
class Fixture:
    """What is stored of one model.

    ``inputs`` by name; ``target`` [N] is the class of each sample. ``gradients`` are the producer's, of the sum of
    the samples' class scores, by the name of the input or inner tensor; none where the model must be refused, and
    then ``refused`` names the operator. ``options`` are further arguments of ``onnxplain.differentiate``.
    ``script`` is what wrote the fixture, ``versions`` the packages that it used.
    """

    name: str
    model: Path
    inputs: dict[str, np.ndarray]
    target: np.ndarray
    gradients: dict[str, np.ndarray]
    options: dict[str, Any]
    refused: str
    script: str
    versions: dict[str, str]

    @property
    def size(self) -> int:
        return self.model.stat().st_size + self.model.with_suffix(".npz").stat().st_size


def load(name: str) -> Fixture:
    with np.load(FOLDER / f"{name}.npz") as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays.pop("about")))
    target = arrays.pop("target")
    parts = {kind: {k[len(kind) :]: v for k, v in arrays.items() if k.startswith(kind)} for kind in ("input:", "grad:")}
    return Fixture(name, FOLDER / f"{name}.onnx", parts["input:"], target, parts["grad:"], **about)


def store(
    name: str,
    model: onnx.ModelProto,
    inputs: Mapping[str, Any],
    target: Any = (),
    gradients: Mapping[str, Any] | None = None,
    *,
    script: str,
    packages: Iterable[str],
    refused: str = "",
    **options: Any,
) -> None:
    """Write the two files; refuses an invalid model, a path inside it, a gradient of zero, a large fixture."""
    for message in _messages(model):
        for field in ("doc_string", "metadata_props"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    onnx.checker.check_model(model)
    wanted = {value.name for value in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    if wanted != set(inputs):
        raise ValueError(f"{name}: the model's inputs are {wanted}, those given {set(inputs)}")
    data = model.SerializeToString()
    about = {
        "options": options,
        "refused": refused,
        "script": f"tests/producers/{Path(script).name}",
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }
    arrays = {"about": np.array(json.dumps(about)), "target": np.asarray(target, dtype=np.int64)}
    arrays |= {f"input:{k}": np.asarray(v) for k, v in inputs.items()}
    arrays |= {f"grad:{k}": np.asarray(v, dtype=np.float32) for k, v in (gradients or {}).items()}
    found = _PATHS.search(data)
    if found:
        raise ValueError(f"{name}: the model holds a path: {data[found.start() - 40 : found.end() + 40]!r}")
    for key, array in arrays.items():
        if key.startswith("grad:") and not (np.isfinite(array).all() and np.abs(array).max() > 0):
            raise ValueError(f"{name}: {key} is zero or not finite")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.onnx").write_bytes(data)
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    size = sum((FOLDER / f"{name}.{ending}").stat().st_size for ending in ("onnx", "npz"))
    if size > LARGEST:
        raise ValueError(f"{name}: {size} bytes are more than {LARGEST}")
    print(f"{name}: {size} bytes, {len(model.graph.node)} nodes: {sorted({n.op_type for n in model.graph.node})}")


def _messages(message: Any) -> Iterable[Any]:
    """A protobuf message and every message inside it, tensors' contents aside."""
    yield message
    if isinstance(message, onnx.TensorProto):
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            values = [value] if hasattr(value, "ListFields") else value
            for inner in values:
                yield from _messages(inner)
