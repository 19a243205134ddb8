"""One model in the cache: how it is found there, what is written there, and when that may be used.

An entry is a folder with a prepared model, its graph without weights, and facts about them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ModelError
from ..runtime import ModelCache, Provider, usable
from ..runtime.cache import aside
from ..runtime.fingerprint import file_digest, processor, software, versions
from ..runtime.operators.library import state
from ..runtime.operators.report import Report
from ..signature import Signature
from .content import content_of, name_of

if TYPE_CHECKING:
    import onnx

    from ..autodiff.explainable import DifferentiatedModel
    from ..autodiff.graph.io import ModelSource

#: What a session computes: scores and gradients, or the scores of all classes alone.
Part = Literal["gradients", "scores"]

#: The table of rules. It is asked for by name: a process that finds its model in the cache never loads it.
REGISTRY = "onnxplain.autodiff.reverse.registry"
MODEL, GRAPH, FACTS = "model.onnx", "graph.onnx", "facts.json"


@dataclass
class ModelEntries:
    """The entries of one model.

    - ``source``: a path, bytes, a proto or an ``onnx_ir.Model``.
    - ``options``: those of :func:`onnxplain.differentiate` that the user chose.
    - ``providers``, ``session_options``: as for a :class:`~onnxplain.runtime.Session`.
    - ``cache``: where prepared models are kept, if at all.
    """

    source: ModelSource
    options: Mapping[str, Any]
    providers: str | Sequence[Provider] | None
    session_options: Mapping[str, Any]
    cache: ModelCache | None
    _outside: list[str] = field(default_factory=list, init=False)

    @property
    def form(self) -> str:
        """How gradients are written."""
        raise NotImplementedError

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that make a map, by their names."""
        return versions()

    def facts(self) -> dict[str, Any]:
        """Return the path of the model (None: it is in memory), its SHA-256, and those of its files of weights.

        A hash is None where the model has none, or its file has gone.
        """
        path = str(self.source) if isinstance(self.source, (str, os.PathLike)) else None
        files: dict[str, str | None] = dict.fromkeys(self._outside)
        with suppress(OSError):
            files.update(self._digests(self._outside))
        return {"path": path, "sha256": self._digest, "files": files}

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

    @contextmanager
    def _aside(self) -> Iterator[Path | None]:
        """Make a folder for files that may become an entry, elsewhere if there is no cache; None where none can be."""
        with ExitStack() as stack:
            folder = None if self.cache is None else stack.enter_context(self.cache.aside())
            yield folder or stack.enter_context(aside())

    def _keep(
        self,
        key: str | None,
        folder: Path,
        model: DifferentiatedModel,
        files: Mapping[str, bytes | onnx.ModelProto],
        report: Report | None,
    ) -> Path | None:
        """Make ``folder``, which :meth:`_aside` gave, with ``files`` in it, the entry ``key``; return its place.

        None where it is not kept. ``report``: as for :meth:`_facts`.
        """
        if self.cache is None or key is None or folder.parent != self.cache.folder:
            return None
        with suppress(OSError, ValueError):  # ValueError: a file of the model was moved to another disk
            for name, data in files.items():
                (folder / name).write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
            (folder / FACTS).write_text(json.dumps(self._facts(model, report)), encoding="utf-8")
            if self._is_as_it_was():
                return self.cache.keep(key, folder)
        return None

    def _is_as_it_was(self) -> bool:
        """Return whether the model is still that of the key; else its file was replaced, and which one was read?"""
        with suppress(ModelError):  # the file has gone
            return content_of(self.source) == self._digest
        return False

    def _facts(self, model: DifferentiatedModel, report: Report | None) -> dict[str, Any]:
        """Return what the cache says of an entry; it is read as data, nothing of it names an argument or a file.

        ``report``: the operators in the model as ONNX Runtime optimised it; None where it did not.
        """
        return {
            "signature": model.signature.to_dict(),
            "optimised": report is not None,
            "operators": (report or Report()).to_dict(),
            "outside": self._digests(self._beside(model.files)),
            "beside": model.folder is not None,
        }

    def _beside(self, files: Iterable[Path]) -> list[str]:
        """Return files by their names beside the model."""
        return [os.path.relpath(path, self._origin or Path()) for path in files]

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
