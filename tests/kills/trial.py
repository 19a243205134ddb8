"""Kill one command many times, in children of a process that has imported everything already."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from .scenarios import Scenario, prepare

#: What changes files: the hook is called before it happens.
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "shutil.copyfile")
#: Seconds between two looks at a run, and looks after which it hangs: a machine that stood still does not count.
_PAUSE, _LOOKS = 0.002, 60_000


@dataclass
class Outcome:
    """What came of the kills of one command; ``stopped`` had not ended yet; ``wrong`` says what did not hold."""

    command: str
    kills: int = 0
    stopped: int = 0
    old: int = 0
    new: int = 0
    unfinished: int = 0
    wrong: list[str] = field(default_factory=list)


class Trial:
    """One command, killed at moments of a seeded choice: every other time at a change of a file, else by the clock."""

    def __init__(self, scenario: Scenario, folder: Path, number: int) -> None:
        self._scenario, self._signal = scenario, signal.Signals(number)
        self._start, self._folder = folder / "start", folder / "run"
        self._start.mkdir(parents=True)
        prepare(self._start)
        self._reset()
        self._must(scenario.before)
        shutil.copytree(self._folder / "out", self._start / "out")
        self._old = contents(self._folder / "out")
        self._reset()
        begin = time.monotonic()
        self._events = self._must(scenario.command)
        self._seconds = time.monotonic() - begin
        self._new, self._names = contents(self._folder / "out"), names(self._folder / "out")
        if self._new == self._old:
            raise AssertionError(f"{scenario.name}: the old files and the new ones are the same; nothing can be seen")

    def run(self, count: int, seed: int = 0) -> Outcome:
        """Kill the command ``count`` times."""
        chosen, outcome = random.Random(f"{seed} {self._scenario.name}"), Outcome(self._scenario.name)
        for number in range(count):
            at_event = number % 2 == 0
            moment = chosen.randrange(self._events) + 1 if at_event else chosen.uniform(0, self._seconds)
            self._reset()
            status = self._run(self._scenario.command, event=int(moment) if at_event else None, seconds=moment)
            outcome.kills += 1
            where = f"{self._signal.name} at {'change' if at_event else 'second'} {moment:.3f}"
            outcome.stopped += os.waitstatus_to_exitcode(status) != 0
            outcome.wrong += [f"{where}: {reason}" for reason in self._after(status, outcome)]
        if not outcome.stopped:
            outcome.wrong.append(f"{self._signal.name} stopped nothing")
        return outcome

    def _after(self, status: int, outcome: Outcome) -> Iterator[str]:
        killed = os.waitstatus_to_exitcode(status)
        expected = (0, -self._signal) if self._signal == signal.SIGKILL else (0, 130)
        if killed not in expected:
            yield f"exit code {killed}: {self._errors()[-300:]}"
        if killed == 130 and self._errors().splitlines() != ["onnxplain: error: interrupted"]:
            yield f"it said {self._errors()[-300:]!r}"
        left = list(self._folder.rglob(".*.part"))
        outcome.unfinished += bool(left)
        if left and self._signal != signal.SIGKILL:
            yield f"{left} is left, though there was time to remove it"
        for name, content in contents(self._folder / "out").items():
            if content == self._new.get(name):
                outcome.new += 1
            elif content == self._old.get(name):
                outcome.old += 1
            else:
                yield f"{name} is neither the old file nor the new one"
        for name in self._old:
            if not (self._folder / "out" / name).exists():
                yield f"{name} is gone"
        refused = self._scenario.once and contents(self._folder / "out") == self._new
        self._must(self._scenario.command, code=int(refused))
        if contents(self._folder / "out") != self._new or names(self._folder / "out") != self._names:
            yield f"the next run made {sorted(names(self._folder / 'out'))}"
        if any(path.name.endswith(".part") for path in self._folder.rglob("*")):
            yield "the next run left what was unfinished"

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._start, self._folder)
        (self._folder / "out").mkdir(exist_ok=True)

    def _must(self, command: object, code: int = 0) -> int:
        """Run a command to its end, which has the exit code ``code``; returns how often it changed files."""
        found = os.waitstatus_to_exitcode(self._run(command))
        if found != code:
            raise AssertionError(f"{command} ends with {found} by itself, not {code}: {self._errors()[-1000:]}")
        return int((self._folder / "events").read_text())

    def _errors(self) -> str:
        return (self._folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def _run(self, command: object, *, event: int | None = None, seconds: float | None = None) -> int:
        """Run a command in a child; it is killed before its change number ``event``, or after ``seconds``."""
        begun, begins = os.pipe()
        child = os.fork()
        if child == 0:
            self._child([str(part) for part in command], event, begins)  # type: ignore[attr-defined]
        os.close(begins)
        os.read(begun, 1)
        os.close(begun)
        if event is None and seconds is not None:
            time.sleep(seconds)
            os.kill(child, self._signal)
        for _ in range(_LOOKS):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return status
            time.sleep(_PAUSE)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError(f"{command} hangs after {self._signal.name}")

    def _child(self, command: list[str], event: int | None, begins: int) -> None:
        """Be the command, and say through ``begins`` when it starts; never returns."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(self._folder)
        os.environ["ONNXPLAIN_CACHE"] = str(self._folder / "cache")
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        changes = 0

        def count(name: str, arguments: tuple[object, ...]) -> None:
            nonlocal changes
            if name in _EVENTS and _is_change(name, arguments):
                changes += 1
                if changes == event:
                    os.kill(os.getpid(), self._signal)

        code = 1
        try:
            from onnxplain.__main__ import main

            sys.argv = ["onnxplain", *command]
            sys.addaudithook(count)
            os.write(begins, b"x")
            main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0
            done = changes
            (self._folder / "events").write_text(str(done))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _is_change(name: str, arguments: tuple[object, ...]) -> bool:
    if name != "open":
        return True
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def names(folder: Path) -> set[str]:
    """Names of all files."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def contents(folder: Path) -> dict[str, bytes]:
    """What is in each file that is meant for users; a model counts with its weights, wherever these are."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or path.name.endswith(".data"):
            continue
        name = path.relative_to(folder).as_posix()
        if path.suffix != ".onnx":
            found |= {name: path.read_bytes()} if path.is_file() else {}
            continue
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            del tensor.external_data[:]
        found[name] = model.SerializeToString(deterministic=True)
    return found


@contextmanager
def imported() -> Iterator[None]:
    """Import what commands import, so that children need not."""
    import matplotlib.figure  # noqa: F401
    import onnxruntime  # noqa: F401

    from onnxplain import cli, evaluation, explainer  # noqa: F401
    from onnxplain.autodiff import summary  # noqa: F401

    yield


def trial(scenario: Scenario, count: int, number: int, seed: int = 0) -> Outcome:
    """Kill one command ``count`` times with a signal."""
    with imported(), tempfile.TemporaryDirectory() as folder:
        return Trial(scenario, Path(folder).resolve(), number).run(count, seed)
