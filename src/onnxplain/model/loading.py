"""From the model that a user names to sessions that run it: out of the cache, or differentiated and put there.

On the CPU the cache holds models as ONNX Runtime optimised them, which load several times faster than they are
optimised. Other providers optimise for themselves; for them, and for weights that stay in files, it holds the
differentiated model.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..checks import check_file
from ..errors import BatchWarning, ModelError, ProviderError
from ..runtime import CPU, CUDA, BatchedSession, ModelCache, Provider, Session, expected, frames_of_the_package, usable
from ..runtime.fingerprint import file_digest, processor, software
from ..runtime.workers import cores
from ..signature import Signature

if TYPE_CHECKING:
    import onnx

    from ..autodiff.explainable import DifferentiatedModel
    from ..autodiff.graph.io import ModelSource
    from ..autodiff.landmarks.forward_graph import ForwardGraph

#: What a session computes: scores and gradients, or the scores of all classes alone.
Part = Literal["gradients", "scores"]

#: The form of the gradient graph for an execution provider.
_FORMS = {CPU: "cpu_shared", CUDA: "cuda"}
#: The table of rules. It is asked for by name: a process that finds its model in the cache never loads it.
REGISTRY = "onnxplain.autodiff.reverse.registry"
_MODEL, _GRAPH, _FACTS = "model.onnx", "graph.onnx", "facts.json"


@dataclass
class ModelLoader:
    """Loads one model, differentiated in whatever ways it is asked for.

    - ``source``: a path, bytes, a proto or an ``onnx_ir.Model``; it is read again for each way.
    - ``options``: those of :func:`onnxplain.differentiate` that the user chose.
    - ``providers``, ``threads``, ``session_options``: as for a :class:`~onnxplain.runtime.Session`.
    - ``batching``: the arguments of a :class:`~onnxplain.runtime.BatchedSession` that the user chose.
    - ``cache``: where prepared models are kept, if at all.
    """

    source: ModelSource
    options: Mapping[str, Any]
    providers: str | Sequence[Provider] | None
    threads: int
    session_options: Mapping[str, Any]
    batching: Mapping[str, Any]
    cache: ModelCache | None
    _warned: bool = field(default=False, init=False)

    def open(self, part: Part = "gradients", **changes: Any) -> tuple[Signature, BatchedSession]:
        """Return the model in a session.

        Args:
            part: what is computed.
            changes: options of a :class:`~..autodiff.request.Request` that take the place of the user's.

        Raises:
            ModelError, UnsupportedOperatorError, InputError: the model cannot be differentiated.
            RuntimeMissingError, ProviderError: ONNX Runtime is missing or cannot run it.

        Warns:
            BatchWarning: the samples of a batch influence each other.
        """
        signature, session, graph = self._opened(part, changes)

        def single() -> Session:
            return replace(self, providers=usable(self.providers), threads=1)._opened(part, changes)[1]

        self._warn(signature.influence)
        return signature, BatchedSession(
            session,
            graph,
            single=single,
            batched={*signature.batched, signature.target, *signature.target_inputs.values()},
            fixed=signature.batch,
            whole=signature.whole,
            threads=self.threads,
            **self.batching,
        )

    def _warn(self, influence: str | None) -> None:
        """Say once that samples influence each other."""
        if influence is not None and not self._warned:
            self._warned = True
            warnings.warn(
                f"the samples of a batch influence each other's scores (by the {influence}), so that results depend on "
                "which samples are passed together; they are run together, whatever batch_size is.",
                BatchWarning,
                frames_of_the_package(),
            )

    def differentiate(self, **changes: Any) -> DifferentiatedModel:
        """Return the model in memory, in the form for its provider; arguments and errors as for :meth:`open`."""
        from ..autodiff.explainable import DifferentiatedModel
        from ..autodiff.request import Request

        return DifferentiatedModel.build(self.source, Request.of(**{**self.options, "form": self._form, **changes}))

    def forward_graph(self, *, written_out: bool = False) -> ForwardGraph:
        """Return the model without gradients; see :class:`~..autodiff.landmarks.forward_graph.ForwardGraph`.

        Raises:
            ModelError, InputError: it cannot be read, or an option does not fit it.
        """
        from ..autodiff.landmarks.forward_graph import ForwardGraph
        from ..autodiff.request import Request

        return ForwardGraph.read(self.source, Request.of(**{**self.options, "written_out": written_out}))

    @property
    def _form(self) -> str:
        """How gradients are written: for a core to itself, for all cores together, or for another provider."""
        form = _FORMS.get(expected(self.providers), "portable")
        return "cpu" if form == "cpu_shared" and (self.threads or cores()) == 1 else form

    def _opened(self, part: Part, changes: Mapping[str, Any]) -> tuple[Signature, Session, bytes]:
        """Return the model in a session, and its graph without weights: from the cache, or prepared."""
        key = None if self.cache is None else self._key(part, changes)
        found = None if key is None else self._load(key)
        return found or self._prepare(part, changes, key)

    def _prepare(self, part: Part, changes: Mapping[str, Any], key: str | None) -> tuple[Signature, Session, bytes]:
        """Differentiate the model and load it; the cache keeps it as ``key``."""
        from ..runtime.memory import without_weights

        model = self.differentiate(**changes)
        proto = model.proto if part == "gradients" else model.scores_only()
        graph = without_weights(proto)
        if self.cache is None or key is None:
            return model.signature, self._session(proto, model.folder), graph
        with self.cache.aside() as folder:
            if folder is None:
                return model.signature, self._session(proto, model.folder), graph
            session, optimised = self._saving_session(proto, model.folder, folder / _MODEL)
            with suppress(OSError, ValueError):  # ValueError: a file of the model was moved to another disk
                if not optimised:
                    (folder / _MODEL).write_bytes(proto.SerializeToString())
                (folder / _GRAPH).write_bytes(graph)
                (folder / _FACTS).write_text(json.dumps(self._facts(model, optimised)), encoding="utf-8")
                if self._content() == self._digest:  # else the file was replaced meanwhile, and which one was read?
                    self.cache.keep(key, folder)
        return model.signature, session, graph

    def _saving_session(self, proto: onnx.ModelProto, outside: Path | None, file: Path) -> tuple[Session, bool]:
        """Return a session, and whether ONNX Runtime wrote the model to ``file`` as it optimised it."""
        if outside is None and [name for name, _ in usable(self.providers)] == [CPU]:
            with suppress(ProviderError):  # the disk may be full
                return self._session(proto, save_to=file), True
        return self._session(proto, outside), False

    def _load(self, key: str) -> tuple[Signature, Session, bytes] | None:
        """Return what the cache holds as ``key``; None if that is nothing that can be used."""
        assert self.cache is not None
        entry = self.cache.find(key)
        if entry is None:
            return None
        try:
            facts = json.loads((entry / _FACTS).read_text(encoding="utf-8"))
            signature, outside = Signature.from_dict(facts["signature"]), dict(facts["outside"])
            if outside != self._digests(outside):
                return None
            graph, file = (entry / _GRAPH).read_bytes(), entry / _MODEL
            # ONNX Runtime looks for weights beside a file, and in a folder that is named only for bytes.
            folder = self._origin if facts["beside"] is True else None
            model = file if folder is None else file.read_bytes()
            return signature, self._session(model, folder, optimised=facts["optimised"] is True), graph
        except (OSError, ValueError, KeyError, TypeError, ProviderError):
            return None

    def _session(
        self,
        model: onnx.ModelProto | bytes | Path,
        folder: Path | None = None,
        *,
        save_to: Path | None = None,
        optimised: bool = False,
    ) -> Session:
        return Session(
            model,
            providers=self.providers,
            threads=self.threads,
            folder=folder,
            options=self.session_options,
            save_to=save_to,
            optimised=optimised,
        )

    def _facts(self, model: DifferentiatedModel, optimised: bool) -> dict[str, Any]:
        """Return what the cache says of an entry; it is read as data, nothing of it names an argument or a file."""
        origin = self._origin or Path()
        outside = [os.path.relpath(path, origin) for path in model.files]
        return {
            "signature": model.signature.to_dict(),
            "optimised": optimised,
            "outside": self._digests(outside),
            "beside": model.folder is not None,
        }

    def _digests(self, names: Iterable[str]) -> dict[str, str]:
        """SHA-256 of files that the model keeps weights in, by their names beside it.

        Raises:
            OSError: one cannot be read.
        """
        return {name: file_digest((self._origin or Path()) / name) for name in names}

    @property
    def _origin(self) -> Path | None:
        """The folder of the model's file."""
        return Path(self.source).resolve().parent if isinstance(self.source, (str, os.PathLike)) else None

    def _key(self, part: Part, changes: Mapping[str, Any]) -> str | None:
        """Return the hash of everything that a prepared model depends on; None if something has no hash."""
        rules = changes.get("rules") or {}
        if not isinstance(rules, str):
            rules = {str(operator): _name(rule) for operator, rule in rules.items()}
        if self._digest is None or (isinstance(rules, dict) and None in rules.values()) or _has_foreign_rules():
            return None
        form = self._form if part == "gradients" else None  # scores are computed alike in all forms
        settings = {**self.options, **changes, "rules": rules, "part": part, "form": form}
        settings["providers"] = usable(self.providers)
        everything = [self._digest, settings, self.session_options, software(), processor()]
        return hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()

    @cached_property
    def _digest(self) -> str | None:
        return self._content()

    def _content(self) -> str | None:
        """SHA-256 of the model; None of an onnx_ir.Model, of a proto too large to be bytes, or without such a file."""
        if isinstance(self.source, (str, os.PathLike)):
            check_file(self.source, ModelError)
            with suppress(OSError):
                return file_digest(self.source)
            return None
        if isinstance(self.source, (bytes, bytearray, memoryview)):
            return hashlib.sha256(self.source).hexdigest()
        serialize = getattr(self.source, "SerializeToString", None)  # an onnx_ir.Model has none
        with suppress(Exception):  # protobuf's error for messages over 2 GB is a ValueError or an EncodeError
            return None if serialize is None else hashlib.sha256(serialize(deterministic=True)).hexdigest()
        return None


def _name(rule: Callable[..., Any]) -> str | None:
    """Return the name of a rule of this package; None for one whose code may be anything."""
    module, name = getattr(rule, "__module__", ""), getattr(rule, "__qualname__", "<locals>")
    package = __name__.partition(".")[0]
    return None if module.partition(".")[0] != package or "<locals>" in name else f"{module}.{name}"


def _has_foreign_rules() -> bool:
    """Return whether a user registered rules, whose code may be anything. Without the registry there are none."""
    registry = sys.modules.get(REGISTRY)
    return registry is not None and registry.foreign()
