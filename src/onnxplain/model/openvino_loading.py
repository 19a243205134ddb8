"""From the model that a user names to sessions of OpenVINO that run it.

The cache holds the differentiated model, and beside it, each as an entry of its own, what OpenVINO compiled it to for
the shapes that were run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, ProviderError
from ..runtime import ModelCache, Runner
from ..runtime.fingerprint import differentiating, versions
from ..runtime.halves import Halves
from ..runtime.openvino import Blobs, OpenVinoSession, Shapes, version
from ..signature import Signature
from .entries import GRAPH, MODEL, Part
from .loading import ModelLoader

if TYPE_CHECKING:
    import onnx

_ENGINE = "openvino"
_COMPILED = "compiled.blob"


@dataclass
class OpenVinoLoader(ModelLoader):
    """Loads one model into OpenVINO; ``session_options`` are properties of OpenVINO, and there are no providers.

    One run has all cores. With several streams OpenVINO (2026.4) returned wrong scores of a model with weights in int8,
    and a model compiled for every core would have its weights in memory as often.
    """

    @property
    def form(self) -> str:
        return _ENGINE

    def versions(self) -> dict[str, str]:
        return versions(openvino=version())

    def _runtime(self) -> list[object]:
        return [_ENGINE, version(), differentiating()]

    def _single(self, part: Part, changes: Mapping[str, Any]) -> Callable[[], Runner] | None:
        return None

    def _halves(self, signature: Signature, changes: Mapping[str, Any], alone: bool) -> Halves | None:
        return None

    def _prepare(self, part: Part, changes: Mapping[str, Any], key: str | None) -> tuple[Signature, Runner, bytes]:
        from ..runtime.memory import without_weights

        model = self.differentiate(**changes)
        self._outside = self._beside(model.files)
        proto = model.proto if part == "gradients" else model.scores_only()
        _refuse_what_goes_wrong(proto)
        graph = without_weights(proto)
        session = self._in_openvino(lambda: proto, model.folder, key)
        if key is not None:
            with self._aside() as folder:
                if folder is not None:
                    self._keep(key, folder, model, {GRAPH: graph, MODEL: proto}, None)
        return model.signature, session, graph

    def _load(self, key: str, part: Part, changes: Mapping[str, Any]) -> tuple[Signature, Runner, bytes] | None:
        try:
            entry, signature, facts = self._entry(key)
            graph, folder = (entry / GRAPH).read_bytes(), self._origin if facts["beside"] is True else None
            self._outside = list(facts["outside"])
            path = entry / MODEL

            def model() -> onnx.ModelProto:
                with suppress(OSError):  # it was removed meanwhile
                    return _read(path)
                made = self.differentiate(**changes)
                return made.proto if part == "gradients" else made.scores_only()

            return signature, self._in_openvino(model, folder, key, read=False), graph
        except (OSError, ValueError, KeyError, TypeError, ProviderError):
            return None

    def _in_openvino(
        self, model: Callable[[], onnx.ModelProto], folder: Path | None, key: str | None, read: bool = True
    ) -> OpenVinoSession:
        blobs = None if self.cache is None or key is None else _KeptBlobs(self.cache, [key, self.threads])
        return OpenVinoSession(
            model,
            folder=folder,
            threads=self.threads,
            options=self.session_options,
            blobs=blobs,
            read=read,
        )


class _KeptBlobs(Blobs):
    """Compiled models in the cache, as entries named after the model's and its shapes."""

    def __init__(self, cache: ModelCache, basis: list[object]) -> None:
        self._cache, self._basis = cache, basis

    def find(self, shapes: Shapes | None) -> bytes | None:
        entry = self._cache.find(self._key(shapes))
        with suppress(OSError):
            return None if entry is None else (entry / _COMPILED).read_bytes()
        return None

    def keep(self, shapes: Shapes | None, blob: Callable[[], bytes]) -> None:
        with self._cache.aside() as folder, suppress(OSError):
            if folder is not None:
                (folder / _COMPILED).write_bytes(blob())
                self._cache.keep(self._key(shapes), folder)

    def _key(self, shapes: Shapes | None) -> str:
        return hashlib.sha256(json.dumps([_COMPILED, *self._basis, shapes]).encode()).hexdigest()


def _read(path: Path) -> onnx.ModelProto:
    import onnx

    return onnx.load(path, load_external_data=False)


def _refuse_what_goes_wrong(proto: onnx.ModelProto) -> None:
    """Raise if OpenVINO is known to return wrong numbers for a model.

    Raises:
        ModelError: with the nodes.
    """
    from ..autodiff.engines import issues

    wrong = [str(issue) for issue in issues(proto, _ENGINE) if issue.fact.wrong]
    if wrong:
        raise ModelError(f"{' '.join(wrong)} Or take runtime='onnxruntime'.")
