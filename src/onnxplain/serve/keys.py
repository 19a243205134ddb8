"""API keys: a file with one a line, read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError
from .failures import NoKey


class Keys:
    """The keys of a file; without one nobody is asked."""

    def __init__(self, path: Path | None) -> None:
        """Read the file.

        Raises:
            InputError: it cannot be read, or holds no key.
        """
        self._path = path
        self._state: tuple[int, int] | None = None
        self._digests: list[bytes] = []
        if path is not None:
            self._read(path)

    def check(self, headers: Mapping[str, str]) -> None:
        """Refuse a request whose headers, in lower case, hold none of the keys.

        Raises:
            NoKey: neither "authorization: Bearer KEY" nor "x-api-key: KEY" has one.
        """
        if self._path is None:
            return
        try:
            if self._looked(self._path) != self._state:
                self._read(self._path)
        except (OSError, InputError):
            pass  # a file that is being replaced: the keys of before count
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        digest = hashlib.sha256(given.encode()).digest()
        if sum(hmac.compare_digest(digest, one) for one in self._digests) == 0:
            raise NoKey('this service asks for a key, as "Authorization: Bearer KEY" or "X-API-Key: KEY".')

    def _read(self, path: Path) -> None:
        try:
            state, lines = self._looked(path), path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise InputError(f"--api-key-file {path} cannot be read: {reason}.") from None
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys:
            raise InputError(f"--api-key-file {path} holds no key; write one on each line.")
        self._digests, self._state = [hashlib.sha256(key.encode()).digest() for key in keys], state

    @staticmethod
    def _looked(path: Path) -> tuple[int, int]:
        found = os.stat(path)
        return found.st_mtime_ns, found.st_size
