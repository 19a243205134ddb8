"""From the model that a user names to sessions that run it: out of the cache, or differentiated and put there.

On the CPU the cache holds models as ONNX Runtime optimised them, which load several times faster than they are
optimised. Other providers optimise for themselves; for them, and for weights that stay in files, it holds the
differentiated model.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BatchWarning, ModelError, ProviderError
from ..runtime import (
    CPU,
    CUDA,
    BatchedSession,
    Runner,
    Session,
    expected,
    frames_of_the_package,
    usable,
    weights_beside,
    write_apart,
)
from ..runtime.halves import Halves, cut, state_types
from ..runtime.operators.library import library
from ..runtime.operators.report import Report
from ..runtime.workers import cores
from ..signature import Signature
from .entries import FACTS, GRAPH, MODEL, ModelEntries, Part

if TYPE_CHECKING:
    import onnx

    from ..autodiff.explainable import DifferentiatedModel
    from ..autodiff.landmarks.forward_graph import ForwardGraph

#: The form of the gradient graph for an execution provider.
_FORMS = {CPU: "cpu_shared", CUDA: "cuda"}
_GIVEN, _FORWARD, _BACKWARD = "given.onnx", "forward.onnx", "backward.onnx"


@dataclass
class ModelLoader(ModelEntries):
    """Loads one model, differentiated in whatever ways it is asked for.

    - ``source`` is read again for each way.
    - ``threads``: as for a :class:`~onnxplain.runtime.Session`.
    - ``batching``: the arguments of a :class:`~onnxplain.runtime.BatchedSession` that the user chose.
    """

    threads: int
    batching: Mapping[str, Any]
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
        return lambda: self._on(1)._opened(part, changes)[1]

    def _on(self, threads: int) -> ModelLoader:
        """Return what loads the same model, on other threads: that whose hash this one has, if it has one by now."""
        other = replace(self, providers=usable(self.providers), threads=threads)
        if "_digest" in vars(self):
            other._digest = self._digest
        return other

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
        if found is None:
            from ..runtime.memory import return_freed

            found = self._prepare(part, changes, key)
            return_freed()
        return found

    def _prepare(self, part: Part, changes: Mapping[str, Any], key: str | None) -> tuple[Signature, Runner, bytes]:
        """Differentiate the model and load it; the cache keeps it as ``key``."""
        from ..runtime.memory import without_weights

        model, proto = self._differentiated(part, changes)
        graph = without_weights(proto)
        self._outside = self._beside(model.files)
        if key is None and not self._takes_operators(part):
            return model.signature, self._session(proto, model.folder), graph
        with self._aside() as folder:
            if folder is not None and self._is_optimised(model):
                report = self._save(part, proto, folder)
                if report is not None:
                    entry = self._keep(key, folder, model, {GRAPH: graph}, report)
                    session = self._saved(entry, folder, report)
                    if session is not None:
                        return model.signature, session, graph
                model, proto = self._differentiated(part, changes)  # what was written has lost its weights
            plain = self._session(proto, model.folder)
            if folder is not None:
                self._keep(key, folder, model, {GRAPH: graph, MODEL: proto}, None)
            return model.signature, plain, graph

    def _differentiated(self, part: Part, changes: Mapping[str, Any]) -> tuple[DifferentiatedModel, onnx.ModelProto]:
        model = self.differentiate(**changes)
        return model, model.proto if part == "gradients" else model.scores_only()

    def _is_optimised(self, model: DifferentiatedModel) -> bool:
        """Return whether the cache takes a model as ONNX Runtime optimises it."""
        return model.folder is None and [name for name, _ in usable(self.providers)] == [CPU]

    def _save(self, part: Part, proto: onnx.ModelProto, folder: Path) -> Report | None:
        """Write a model as ONNX Runtime optimises it, with operators of ours, and return which.

        None where it cannot be written: the disk may be full. ``proto`` gives its weights away.
        """
        file, given = folder / MODEL, folder / _GIVEN
        try:
            write_apart(proto, given)
            self._session(given, save_to=file)
            if not self._takes_operators(part):
                return Report()
            from ..runtime.operators.rewrite import rewrite_file

            return rewrite_file(file)
        except (ProviderError, OSError, ValueError):
            _remove(file)
            return None
        finally:
            _remove(given)

    def _saved(self, entry: Path | None, folder: Path, report: Report) -> Session | None:
        """Return the model that :meth:`_save` wrote, out of the cache or ``folder``; None where it cannot be loaded."""
        model: Path | onnx.ModelProto = (entry or folder) / MODEL
        if entry is None and sys.platform == "win32":  # which removes no file while weights are mapped
            import onnx

            model = onnx.load(folder / MODEL)
        with suppress(ProviderError):
            session = self._session(model, optimised=True)
            session.operators = report
            return session
        return None

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

    def _halves(self, signature: Signature, changes: Mapping[str, Any], alone: bool) -> Halves | None:
        """Return the model with gradients cut in two, for one core (``alone``) or all of them.

        None unless ONNX Runtime optimises it for the CPU alone.
        """
        return self._on(1 if alone else self.threads)._cut_in_two(signature, changes)

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
        # The disk may be full, a value that crosses no tensor, the file gone.
        with suppress(OSError, ValueError, ProviderError, ModelError):
            return self._cut({signature.target, *signature.target_inputs.values()}, changes, key)
        return None

    def _cut(self, asked: set[str], changes: Mapping[str, Any], key: str | None) -> Halves:
        """Cut the model as ONNX Runtime optimised it, and load both halves; the cache keeps them as ``key``.

        Raises:
            OSError, ValueError, ProviderError: it cannot be cut.
        """
        import onnx
        from google.protobuf.message import DecodeError

        with self._aside() as folder:
            if folder is None:
                raise OSError("there is no folder for the halves.")
            whole, facts = self._optimised(changes, folder)
            try:
                model = onnx.load(whole)
            except (DecodeError, onnx.checker.ValidationError) as error:  # another process removed the entry
                raise OSError(f"{whole} cannot be read: {error}") from error
            before, after = cut(model, asked)
            onnx.save(before, folder / _FORWARD)
            forward = self._session(folder / _FORWARD, optimised=True)
            state_types(after, forward.output_types)
            onnx.save(after, folder / _BACKWARD)
            backward = self._session(folder / _BACKWARD, optimised=True)
            if self.cache is not None and key is not None and folder.parent == self.cache.folder:
                _remove(folder / MODEL)
                (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
                self.cache.keep(key, folder)
        return Halves(forward, backward)

    def _optimised(self, changes: Mapping[str, Any], folder: Path) -> tuple[Path, dict[str, Any]]:
        """Return the model with gradients as ONNX Runtime optimised it, out of the cache or written into ``folder``.

        Raises:
            OSError, ProviderError: it cannot be written.
            ValueError: its weights stay in their files, or it is no longer the model that was opened.
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
        if key is not None and not self._is_as_it_was():
            raise ValueError("the model has changed since it was opened.")
        report = self._save("gradients", model.proto, folder)
        if report is None:
            raise OSError("the optimised model cannot be written.")
        return folder / MODEL, self._facts(model, report)

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


def _remove(file: Path) -> None:
    """Remove a model and its weights beside it."""
    with suppress(OSError):
        for written in (file, weights_beside(file)):
            written.unlink(missing_ok=True)
