"""What can run a model: ONNX Runtime, or OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from ..runtime import Provider
from .loading import ModelLoader

ONNX_RUNTIME, OPENVINO = "onnxruntime", "openvino"
RUNTIMES = (ONNX_RUNTIME, OPENVINO)


def loader_for(runtime: str, providers: str | Sequence[Provider] | None) -> type[ModelLoader]:
    """Return the loader of a runtime.

    Raises:
        InputError: there is no such runtime, or it does not have ``providers``.
    """
    if runtime not in RUNTIMES:
        raise InputError(f"runtime must be {' or '.join(map(repr, RUNTIMES))}; found {runtime!r}.")
    if runtime == ONNX_RUNTIME:
        return ModelLoader
    if providers is not None:
        raise InputError(f"providers are those of ONNX Runtime; leave them out with runtime={runtime!r}.")
    from .openvino_loading import OpenVinoLoader

    return OpenVinoLoader
