"""The models of a service: loaded when it starts, and again when their files change."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundled import bundled_model
from ..errors import OnnxplainError
from ..explainer import Explainer
from ..runtime.fingerprint import file_digest
from ..runtime.providers import named
from .metrics import RELOADS, STEPS
from .work import Limits, Worker

if TYPE_CHECKING:
    from .settings import Settings

_LOG = logging.getLogger("onnxplain.serve")

#: Seconds between two looks at the files.
EVERY = 1.0


@dataclass(frozen=True)
class Loaded:
    """A model that is loaded: its name, the SHA-256 of its file, and what answers by it."""

    name: str
    digest: str
    worker: Worker


class WatchedModel:
    """One model; :attr:`loaded` is what answers now, None until it is there."""

    def __init__(self, name: str, path: Path | None, settings: Settings, limits: Limits) -> None:
        self.name = name
        self.loaded: Loaded | None = None
        self._path = bundled_model() if path is None else path
        self._settings, self._limits = settings, limits
        self._state: tuple[int, int, int] | None = None

    def load(self) -> None:
        """Load it for the first time.

        Raises:
            OnnxplainError: the library refuses it.
            OSError: it cannot be read.
        """
        self._state = self._look()
        self.loaded = self._load()

    def look(self) -> None:
        """Load it again if its file has changed, and is at rest; where that fails, the former one stays."""
        state = self._look()
        if state is None or state == self._state:
            return
        time.sleep(EVERY / 2)
        if self._look() != state:
            return
        self._state = state
        try:
            self.loaded = self._load()
        except (OnnxplainError, OSError) as error:
            RELOADS.labels(self.name, "failed").inc()
            _LOG.error("%s changed and cannot be loaded; the former one stays: %s", self.name, error)
        else:
            RELOADS.labels(self.name, "done").inc()
            _LOG.info("%s changed and was loaded again", self.name)

    def _load(self) -> Loaded:
        names = self._settings.providers
        explainer = Explainer(
            self._path,
            runtime=self._settings.runtime,
            providers=[named(name) for name in names] if names else None,
            threads=self._settings.threads,
        )

        def observe(step: str, method: str, seconds: float) -> None:
            STEPS.labels(self.name, step, method).observe(seconds)

        worker = Worker(explainer, self._limits, observe)
        worker.warm()
        return Loaded(self.name, file_digest(self._path), worker)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


class Watcher:
    """A thread that loads models, tells how that ended, and then looks after their files."""

    def __init__(self, models: list[WatchedModel], done: Callable[[Exception | None], None]) -> None:
        self._models, self._done = models, done
        self._ended = threading.Event()
        threading.Thread(target=self._work, name="onnxplain-models", daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._ended.set()

    def _work(self) -> None:
        for model in self._models:
            try:
                model.load()
            except Exception as error:
                self._done(error)
                return
        self._done(None)
        while not self._ended.wait(EVERY):
            for model in self._models:
                model.look()
