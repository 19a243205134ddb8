"""A process that tries seeds of one kind, under limits: ``python -m fuzz.worker KIND FIRST END``.

It prints a line of JSON before and after every seed, so that whoever reads knows which one it died of.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from onnxplain.autodiff.graph.guard import NotUnderstoodError
from onnxplain.errors import OnnxplainError

SECONDS = 30  # of the processor: the machine may be shared
MEMORY = 1 << 30  # bytes more than before the first seed


class TooLongError(BaseException):
    """A seed took longer than it may."""


def outcome(attempt: Callable[[int], None], seed: int) -> dict[str, object]:
    """What came of a seed: "fine", "refused", "caught" by the guard, "traceback", "hang" or "memory", and where."""
    try:
        attempt(seed)
    except NotUnderstoodError as error:
        cause = error.__cause__
        kind = "memory" if isinstance(cause, MemoryError) else "caught"
        return {"kind": kind, "what": f"{type(cause).__name__} in {_place(cause)}", "text": str(error)[:300]}
    except OnnxplainError as error:
        return {"kind": "refused", "what": type(error).__name__, "text": str(error)[:300]}
    except TooLongError as error:
        return {"kind": "hang", "what": _place(error), "text": f"more than {SECONDS} s"}
    except MemoryError as error:
        return {"kind": "memory", "what": _place(error), "text": str(error)[:300]}
    except Exception as error:
        return {"kind": "traceback", "what": f"{type(error).__name__} in {_place(error)}", "text": str(error)[:300]}
    return {"kind": "fine", "what": "", "text": ""}


def _place(error: BaseException | None) -> str:
    """The innermost line of the package, or of whatever it was in."""
    frames = traceback.extract_tb(error.__traceback__ if error is not None else None)
    own = [frame for frame in frames if f"{os.sep}onnxplain{os.sep}" in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].name}" if own else "?"


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooLongError


def main(kind: str, first: int, end: int) -> None:
    warnings.simplefilter("ignore")
    attempt = importlib.import_module(f"fuzz.{kind}").attempt
    outcome(attempt, first)  # whatever is loaded on first use is no growth
    sizes = Path("/proc/self/statm").read_text(encoding="ascii").split()
    used = int(sizes[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, _stop)
    for seed in range(first, end):
        print(json.dumps({"seed": seed}), flush=True)
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        faulthandler.dump_traceback_later(10 * SECONDS, exit=True)  # for what waits, or hears no signal
        try:
            found = outcome(attempt, seed)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()
        found["seconds"] = round(time.process_time() - begin, 3)
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        print(json.dumps({"seed": seed, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
