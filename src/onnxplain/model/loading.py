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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from ..errors import BatchWarning, ProviderError
from ..runtime import (
    CPU,
    CUDA,
    BatchedSession,
    ModelCache,
    Provider,
    Runner,
    Session,
    expected,
    frames_of_the_package,
    usable,
)
from ..runtime.cache import aside
from ..runtime.fingerprint import file_digest, processor, software, versions
from ..runtime.halves import Halves, cut, state_types
from ..runtime.operators.library import library, state
from ..runtime.operators.report import Report
from ..runtime.workers import cores
from ..signature import Signature
from .content import content_of, name_of

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
MODEL, GRAPH, FACTS = "model.onnx", "graph.onnx", "facts.json"
_FORWARD, _BACKWARD = "forward.onnx", "backward.onnx"


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
    _outside: list[str] = field(default_factory=list, init=False)

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

        def halves(alone: bool) -> Halves | None:
            return self._halves(signature, changes, alone) if part == "gradients" else None

        self._warn(signature.influence)
        return signature, BatchedSession(
            session,
            graph,
            single=self._single(part, changes),
            halves=halves,
            batched={*signature.batched, signature.target, *signature.target_inputs.values()},
            fixed=signature.batch,
            whole=signature.whole,
            threads=self.threads,
            **self.batching,
        )

    def _single(self, part: Part, changes: Mapping[str, Any]) -> Callable[[], Runner] | None:
        """Return what loads the model for one core, as runs side by side need it; None where they gain nothing."""
        return lambda: replace(self, providers=usable(self.providers), threads=1)._opened(part, changes)[1]

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

        return DifferentiatedModel.build(self.source, Request.of(**{**self.options, "form": self.form, **changes}))

    def forward_graph(self, *, written_out: bool = False) -> ForwardGraph:
        """Return the model without gradients; see :class:`~..autodiff.landmarks.forward_graph.ForwardGraph`.

        Raises:
            ModelError, InputError: it cannot be read, or an option does not fit it.
        """
        from ..autodiff.landmarks.forward_graph import ForwardGraph
        from ..autodiff.request import Request

        return ForwardGraph.read(self.source, Request.of(**{**self.options, "written_out": written_out}))

    @property
    def form(self) -> str:
        """How gradients are written: for a core to itself, for all cores together, or for another provider."""
        form = _FORMS.get(expected(self.providers), "portable")
        return "cpu" if form == "cpu_shared" and (self.threads or cores()) == 1 else form

    def _opened(self, part: Part, changes: Mapping[str, Any]) -> tuple[Signature, Runner, bytes]:
        """Return the model in a session, and its graph without weights: from the cache, or prepared."""
        key = None if self.cache is None else self._key(part, changes)
        found = None if key is None else self._load(key, part, changes)
        return found or self._prepare(part, changes, key)

    def _prepare(self, part: Part, changes: Mapping[str, Any], key: str | None) -> tuple[Signature, Runner, bytes]:
        """Differentiate the model and load it; the cache keeps it as ``key``."""
        from ..runtime.memory import without_weights

        model = self.differentiate(**changes)
        proto = model.proto if part == "gradients" else model.scores_only()
        graph = without_weights(proto)
        self._outside = self._beside(model.files)
        kept = self.cache if key is not None else None
        if kept is None and not self._takes_operators(part):
            return model.signature, self._session(proto, model.folder), graph
        with aside() if kept is None else kept.aside() as folder:
            if folder is None:
                return model.signature, self._session(proto, model.folder), graph
            session, optimised = self._saving_session(part, proto, model.folder, folder / MODEL)
            with suppress(OSError, ValueError):  # ValueError: a file of the model was moved to another disk
                if kept is not None and key is not None:
                    if not optimised:
                        (folder / MODEL).write_bytes(proto.SerializeToString())
                    (folder / GRAPH).write_bytes(graph)
                    (folder / FACTS).write_text(json.dumps(self._facts(model, session, optimised)), encoding="utf-8")
                    # Else the file was replaced meanwhile, and which one was read?
                    if content_of(self.source) == self._digest:
                        kept.keep(key, folder)
        return model.signature, session, graph

    def _saving_session(
        self, part: Part, proto: onnx.ModelProto, outside: Path | None, file: Path
    ) -> tuple[Session, bool]:
        """Return a session, and whether ``file`` is its model as ONNX Runtime optimised it, with operators of ours."""
        if outside is None and [name for name, _ in usable(self.providers)] == [CPU]:
            with suppress(ProviderError, OSError):  # the disk may be full
                if not self._takes_operators(part):
                    return self._session(proto, save_to=file), True
                from ..runtime.operators.rewrite import rewrite_file

                self._session(proto, save_to=file, only_save=True)
                report = rewrite_file(file)
                session = self._session(file, optimised=True)
                session.operators = report
                return session, True
        return self._session(proto, outside), False

    def _takes_operators(self, part: Part) -> bool:
        """Return whether operators of ours may be put in: not where the user chose how far ONNX Runtime optimises."""
        return part == "gradients" and "graph_optimization_level" not in self.session_options and library() is not None

    def _load(self, key: str, part: Part, changes: Mapping[str, Any]) -> tuple[Signature, Runner, bytes] | None:
        """Return what the cache holds as ``key``; None if that is nothing that can be used."""
        try:
            entry, signature, facts = self._entry(key)
            graph, file = (entry / GRAPH).read_bytes(), entry / MODEL
            # ONNX Runtime looks for weights beside a file, and in a folder that is named only for bytes.
            folder = self._origin if facts["beside"] is True else None
            model = file if folder is None else file.read_bytes()
            session = self._session(model, folder, optimised=facts["optimised"] is True)
            session.operators = Report.from_dict(facts["operators"])
            self._outside = list(facts["outside"])
            return signature, session, graph
        except (OSError, ValueError, KeyError, TypeError, ProviderError):
            return None

    def _entry(self, key: str) -> tuple[Path, Signature, dict[str, Any]]:
        """Return the folder that the cache holds as ``key``, the signature, and what else it says of itself.

        Raises:
            OSError, ValueError, KeyError, TypeError: there is none that can be used.
        """
        assert self.cache is not None
        entry = self.cache.find(key)
        if entry is None:
            raise FileNotFoundError(key)
        facts = json.loads((entry / FACTS).read_text(encoding="utf-8"))
        signature, outside = Signature.from_dict(facts["signature"]), dict(facts["outside"])
        if outside != self._digests(outside):
            raise ValueError("the model's files have changed.")
        return entry, signature, facts

    def _halves(self, signature: Signature, changes: Mapping[str, Any], alone: bool) -> Halves | None:
        """Return the model with gradients cut in two, for one core (``alone``) or all of them.

        None unless ONNX Runtime optimises it for the CPU alone.
        """
        mine = replace(self, providers=usable(self.providers), threads=1 if alone else self.threads)
        return mine._cut_in_two(signature, changes)

    def _cut_in_two(self, signature: Signature, changes: Mapping[str, Any]) -> Halves | None:
        if [name for name, _ in usable(self.providers)] != [CPU] or {"", "object"} & {
            i.dtype for i in signature.inputs
        }:
            return None
        key = None if self.cache is None else self._key("halves", changes)
        if key is not None:
            with suppress(OSError, ValueError, KeyError, TypeError, ProviderError):
                entry, *_ = self._entry(key)
                return Halves(*(self._session(entry / name, optimised=True) for name in (_FORWARD, _BACKWARD)))
        with suppress(OSError, ValueError, ProviderError):  # the disk may be full, or a value that crosses no tensor
            return self._cut({signature.target, *signature.target_inputs.values()}, changes, key)
        return None

    def _cut(self, asked: set[str], changes: Mapping[str, Any], key: str | None) -> Halves:
        """Cut the model as ONNX Runtime optimised it, and load both halves; the cache keeps them as ``key``.

        Raises:
            OSError, ValueError, ProviderError: it cannot be cut.
        """
        import onnx

        with self._aside() as folder:
            whole, facts = self._optimised(changes, folder)
            before, after = cut(onnx.load(whole), asked)
            onnx.save(before, folder / _FORWARD)
            forward = self._session(folder / _FORWARD, optimised=True)
            state_types(after, forward.output_types)
            onnx.save(after, folder / _BACKWARD)
            backward = self._session(folder / _BACKWARD, optimised=True)
            if self.cache is not None and key is not None and folder.parent == self.cache.folder:
                (folder / MODEL).unlink(missing_ok=True)
                (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
                self.cache.keep(key, folder)
        return Halves(forward, backward)

    def _optimised(self, changes: Mapping[str, Any], folder: Path) -> tuple[Path, dict[str, Any]]:
        """Return the model with gradients as ONNX Runtime optimised it, out of the cache or written into ``folder``.

        Raises:
            OSError, ProviderError: it cannot be written.
            ValueError: its weights stay in their files.
        """
        key = None if self.cache is None else self._key("gradients", changes)
        if key is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                entry, _, facts = self._entry(key)
                if facts["optimised"] is True:
                    return entry / MODEL, facts
        model = self.differentiate(**changes)
        if model.folder is not None:
            raise ValueError(f"the weights stay in {model.folder}.")
        session, optimised = self._saving_session("gradients", model.proto, None, folder / MODEL)
        if not optimised:
            raise OSError("the optimised model cannot be written.")
        return folder / MODEL, self._facts(model, session, True)

    @contextmanager
    def _aside(self) -> Iterator[Path]:
        """Make a folder for files that may become an entry of the cache, elsewhere if there is none."""
        with ExitStack() as stack:
            folder = None if self.cache is None else stack.enter_context(self.cache.aside())
            yield folder or Path(stack.enter_context(TemporaryDirectory()))

    def _session(
        self,
        model: onnx.ModelProto | bytes | Path,
        folder: Path | None = None,
        *,
        save_to: Path | None = None,
        only_save: bool = False,
        optimised: bool = False,
    ) -> Session:
        return Session(
            model,
            providers=self.providers,
            threads=self.threads,
            folder=folder,
            options=self.session_options,
            save_to=save_to,
            only_save=only_save,
            optimised=optimised,
        )

    def _facts(self, model: DifferentiatedModel, session: Runner, optimised: bool) -> dict[str, Any]:
        """Return what the cache says of an entry; it is read as data, nothing of it names an argument or a file."""
        return {
            "signature": model.signature.to_dict(),
            "optimised": optimised,
            "operators": session.operators.to_dict(),
            "outside": self._digests(self._beside(model.files)),
            "beside": model.folder is not None,
        }

    def _beside(self, files: Iterable[Path]) -> list[str]:
        """Return files by their names beside the model."""
        return [os.path.relpath(path, self._origin or Path()) for path in files]

    def facts(self) -> dict[str, Any]:
        """Return the path of the model (None: it is in memory), its SHA-256, and those of its files of weights.

        A hash is None where the model has none, or its file has gone.
        """
        path = str(self.source) if isinstance(self.source, (str, os.PathLike)) else None
        files: dict[str, str | None] = dict.fromkeys(self._outside)
        with suppress(OSError):
            files.update(self._digests(self._outside))
        return {"path": path, "sha256": self._digest, "files": files}

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

    def _key(self, part: Part | Literal["halves"], changes: Mapping[str, Any]) -> str | None:
        """Return the hash of everything that a prepared model depends on; None if something has no hash."""
        rules = changes.get("rules") or {}
        if not isinstance(rules, str):
            rules = {str(operator): name_of(rule) for operator, rule in rules.items()}
        if self._digest is None or (isinstance(rules, dict) and None in rules.values()) or _has_foreign_rules():
            return None
        form = None if part == "scores" else self.form  # scores are computed alike in all forms
        settings = {**self.options, **changes, "rules": rules, "part": part, "form": form}
        everything = [self._digest, settings, self.session_options, processor(), *self._runtime()]
        return hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that make a map, by their names."""
        return versions()

    def _runtime(self) -> list[object]:
        """What else a prepared model depends on, of the runtime that it is prepared for."""
        return [usable(self.providers), software(), state()]

    @cached_property
    def _digest(self) -> str | None:
        return content_of(self.source)


def _has_foreign_rules() -> bool:
    """Return whether a user registered rules, whose code may be anything. Without the registry there are none."""
    registry = sys.modules.get(REGISTRY)
    return registry is not None and registry.foreign()
