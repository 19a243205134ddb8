"""The page of the service, at ``/``: photos are explained in the browser, with the models of the service."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles

from ..bundled import bundled_model
from ..errors import OnnxplainError, RuntimeMissingError
from ..page import CONTENT_POLICY, write_page
from ..text import printable
from .failures import NotFound, Unavailable
from .guard import Message, Receive, Scope, Send

#: Under which path its files are.
PLACE = "/page"
#: What isolates a page, so that it may use threads, and keeps it from asking other machines.
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Page:
    """An ASGI application: the files of a page that ``onnxplain page`` wrote, or that :meth:`make` makes."""

    def __init__(self, models: Mapping[str, Path | None], folder: Path | None) -> None:
        self._models, self._stated = models, folder
        self._own: TemporaryDirectory[str] | None = None
        self._files: StaticFiles | None = None
        self._reason: str | None = None

    def make(self, address: str) -> None:
        """Make the page, and say on stderr at which address it is, or why there is none."""
        try:
            folder = self._stated
            if folder is None:
                self._own = TemporaryDirectory(prefix="onnxplain-page-", ignore_cleanup_errors=True)
                folder = Path(self._own.name) / "page"
                write_page({name: path or bundled_model() for name, path in self._models.items()}, folder, skip=_skip)
            self._files = StaticFiles(directory=folder, html=True)
            _tell(f"page: {address}/")
        except (OnnxplainError, OSError) as error:
            self._reason = "there is no page here; the service's log says why."
            kind = "page" if isinstance(error, RuntimeMissingError) else "no page"
            _tell(f"{kind}: {error}")

    def close(self) -> None:
        """Remove what was made."""
        if self._own is not None:
            self._own.cleanup()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file.

        Raises:
            NotFound, Unavailable: there is no page, or not yet.
        """
        if self._reason is not None:
            raise NotFound(self._reason)
        if self._files is None:
            raise Unavailable("the page is being made.", retry_after=5)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._files(scope, receive, sending)


def _skip(name: str, error: OnnxplainError) -> None:
    _tell(f"the page is without {name}: {error}")


def _tell(text: str) -> None:
    print(printable(f"onnxplain: {text}"), file=sys.stderr, flush=True)
