"""A service that explains: KServe's protocols, by REST and gRPC, in front of the models of one machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..checks import install_hint
from ..errors import RuntimeMissingError

if TYPE_CHECKING:
    from .settings import Settings


def serve(settings: Settings) -> None:
    """Answer requests until a signal ends the service.

    Raises:
        RuntimeMissingError: KServe's package is missing.
        OnnxplainError, OSError: a model cannot be loaded, a port is taken, keys cannot be read.
    """
    try:
        with _bare_arguments():
            from .server import run
    except ImportError as error:
        raise RuntimeMissingError(
            f"serving needs KServe's package ({error.name or error} is missing); "
            f"install it with {install_hint('serve')}."
        ) from error
    run(settings)


@contextmanager
def _bare_arguments() -> Iterator[None]:
    """Hide this process's arguments, which KServe's package would read as its own when it is imported."""
    kept = sys.argv
    sys.argv = kept[:1]
    try:
        yield
    finally:
        sys.argv = kept
