"""A program in a terminal: what it writes there, with the signs that move the cursor."""

from __future__ import annotations

import os
import struct
import subprocess
import sys


def shown(script: str, columns: int = 60) -> bytes:
    """Return what a program in Python writes to a terminal of so many columns; it ends with exit code 0."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    done = subprocess.Popen(
        [sys.executable, "-c", script], stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # Linux ends so
        pass
    os.close(ours)
    assert done.wait(60) == 0, text.decode(errors="replace")
    return text
