"""Output files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from onnxplain.errors import OutputError


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Writes ``content`` to a temporary file in the same folder, then renames it to ``path``.

    An existing file is replaced. Raises :class:`OutputError` where that is impossible; nothing is left behind.
    """
    place = Path(path)
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(content)
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}") from error
    return place
