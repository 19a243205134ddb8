"""``python -m onnxplain``, and what a console starts: the command line, which may be interrupted at any moment."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

_INTERRUPTED = 128 + signal.SIGINT


class _Interrupts:
    """Remembers that Ctrl-C was pressed: what is interrupted may turn the exception into another, or lose it.

    After the command nobody is left who would catch the exception, and the process ends where it stands.
    """

    def __init__(self) -> None:
        self.seen = self.command_ended = False

    def __call__(self, number: int, frame: object) -> None:
        if self.command_ended:
            _leave(said=False)
        self.seen = True
        raise KeyboardInterrupt


def main() -> None:
    """Run the command line. When it is interrupted, one line says so and the exit code is 130, at once."""
    interrupts, code = _Interrupts(), None
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants it ignored
        signal.signal(signal.SIGINT, interrupts)
        sys.unraisablehook = _unless_interrupted
    try:
        try:
            from .cli import main as run

            run()
        except SystemExit as error:
            code = error.code
        except BaseException:
            if not interrupts.seen:
                raise
        interrupts.command_ended = True
    except KeyboardInterrupt:  # pressed again
        pass
    if interrupts.seen:
        _leave(said=code == _INTERRUPTED)
    sys.exit(code)


def _leave(*, said: bool) -> None:
    """End the process without waiting for threads that still compute."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not said:
        print("onnxplain: error: interrupted", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, or interrupted while it is flushed
            stream.flush()
    os._exit(_INTERRUPTED)


def _unless_interrupted(lost: sys.UnraisableHookArgs) -> None:
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    main()
