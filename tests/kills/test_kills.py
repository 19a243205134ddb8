"""A few kills and interrupts of every command that writes; ``python -m kills`` is the long trial."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .scenarios import scenarios
from support import REPOSITORY

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the trial needs fork")

NAMES = [one.name for one in scenarios()]


def trial(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kills", *arguments]
    return subprocess.run(command, cwd=REPOSITORY / "tests", capture_output=True, text=True, timeout=500)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["KILL", "INT"])
def test_a_few(name: str, kind: str) -> None:
    done = trial("--count", "6", "--signal", kind, "--only", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {name} | 6 |" in done.stdout


@pytest.mark.long
def test_a_hundred() -> None:
    for kind in ("KILL", "INT"):
        for name in NAMES:
            done = trial("--count", "100", "--signal", kind, "--only", name)
            assert done.returncode == 0, done.stdout + done.stderr


STARTED = "import onnxplain.__main__ as started; print('started', flush=True); started.main()"


_RUNTIME = """import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    raise ImportError("initialization failed") from None
"""


def test_a_library_that_makes_an_error_of_an_interruption(tmp_path: Path) -> None:
    """Extensions do so while they are imported; ONNX Runtime was reported as missing, and then the interruption."""
    (tmp_path / "onnxruntime.py").write_text(_RUNTIME)
    command = [sys.executable, "-m", "onnxplain", "explain", "-o", str(tmp_path / "out")]
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "onnxplain: error: interrupted\n")


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_while_it_is_imported(tmp_path: Path, seed: int) -> None:
    """From the first line of ours on: exit code 130, one line and no traceback."""
    command = [sys.executable, "-c", STARTED, "explain", "-o", str(tmp_path / "out")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "started\n"
        time.sleep(random.Random(seed).uniform(0, 0.6))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "onnxplain: error: interrupted\n")
    assert not list(tmp_path.rglob(".*.part"))
