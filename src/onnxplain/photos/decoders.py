"""What libtiff, and the decoders inside of it, write to the process's standard error by themselves."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..text import printable

_STDERR = 2
#: How such lines begin: Pillow's name for the file, the other libraries', and those of libtiff's functions.
_LINE = re.compile(
    r"(tempfile\.tif|JPEGLib|OJPEG|LibTIFF|Fax3|Fax4|LERC|LZMA|ZSTD|_?TIFF\w*|\w+(Decode|PreDecode|SetupDecode)\w*): "
)
_TURN = threading.Lock()
_LONGEST = 1 << 16


@contextmanager
def lines_caught(name: str) -> Iterator[None]:
    """Turn what a TIFF decoder writes to standard error into one warning, if the picture could be decoded after all.

    One thread at a time is in here, since there is one standard error. What others write to it meanwhile is written
    again.

    Warns:
        UserWarning: with the first line.
    """
    with _TURN, tempfile.TemporaryFile() as caught:
        try:
            before = os.dup(_STDERR)
        except OSError:  # there is none
            yield
            return
        try:
            os.dup2(caught.fileno(), _STDERR)
            yield
        finally:
            os.dup2(before, _STDERR)
            os.close(before)
            caught.seek(0)
            lines = caught.read(_LONGEST).decode("utf-8", "replace").splitlines(keepends=True)
            own = [line for line in lines if _LINE.match(line)]
            others = "".join(line for line in lines if line not in own)
            if others:
                os.write(_STDERR, others.encode())
    if own:
        said = printable(own[0].strip())
        warnings.warn(f'{name}: its decoder says "{said}"; look at the picture.', stacklevel=2)
