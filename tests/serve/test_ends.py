"""How a service starts and ends: not ready until loaded, SIGTERM, SIGKILL, ports and models that cannot be had."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.service import Service, python, service, surroundings

BUSY = "/v1/models/busy:explain"
ONES = {"instances": [np.ones((3, 4, 4)).tolist()]}


def _asking(running: Service, path: str, body: object, found: list[int], count: int = 1) -> list[threading.Thread]:
    def ask() -> None:
        try:
            found.append(running.ask(path, body)[0])
        except OSError:
            found.append(0)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_term_finishes_what_was_accepted(folder: Path, tmp_path: Path) -> None:
    with service(tmp_path, folder / "busy.onnx", "--queue", 32) as running:
        job = running.ask(f"{BUSY}?async=1", ONES)[1]
        found: list[int] = []
        threads = _asking(running, BUSY, ONES, found, 3)
        _until(lambda: _present(running) >= 3)
        running.process.send_signal(signal.SIGTERM)
        _until(lambda: running.ask("/v2/health/ready")[0] == 503)
        assert running.ask("/v2/health/live")[0] == 200
        status, _, headers = running.ask(BUSY, ONES)
        assert status == 503 and "retry-after" in headers
        for thread in threads:
            thread.join(120)
        assert found == [200] * 3
        _until(lambda: running.ask(job["href"])[1]["state"] == "done")
        assert running.process.wait(60) == 0


def test_idle_service_ends_at_once(folder: Path, tmp_path: Path) -> None:
    with service(tmp_path, folder / "small.onnx") as running:
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert time.monotonic() - began < 10


def test_a_service_that_still_loads_ends_in_order(tmp_path: Path) -> None:
    """The bundled model, not prepared before: its thread is inside of ONNX Runtime, or of onnx."""
    for number, seconds in enumerate((0.2, 0.35, 0.5, 0.65, 0.8, 1.5)):
        place = tmp_path / str(number)
        place.mkdir()
        with service(place, ready=False) as running:
            time.sleep(seconds)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0, running.text()


def test_kill_loses_nothing_that_was_answered(folder: Path, tmp_path: Path) -> None:
    """With --sample 1 whatever was answered is in the log, whole lines alone."""
    arguments = ("--queue", 64, "--log-explanations", tmp_path / "log", "--sample", 1)
    with service(tmp_path, folder / "small.onnx", *arguments) as running:
        answered: list[str] = []
        ended = threading.Event()

        def ask(worker: int) -> None:
            number = 0
            while not ended.is_set():
                name = f"{worker}.{number}"
                try:
                    status = running.ask("/v1/models/small:explain", ONES, {"X-Request-Id": name})[0]
                except (OSError, HTTPException):
                    return
                if status == 200:
                    answered.append(name)
                number += 1

        threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        _until(lambda: len(answered) > 100)
        running.process.kill()
        ended.set()
        for thread in threads:
            thread.join(60)
    lines = [line for file in (tmp_path / "log").glob("*.jsonl") for line in file.read_bytes().split(b"\n")]
    assert lines[-1] == b""
    logged = {json.loads(line)["request"] for line in lines if line}
    assert set(answered) <= logged


def test_nothing_is_answered_before_models_are_loaded(folder: Path, tmp_path: Path) -> None:
    with service(tmp_path, folder / "busy.onnx", ready=False) as running:
        assert running.ask("/v2/health/live")[0] == 200
        status, answer, headers = running.ask(BUSY, ONES)
        assert (status, headers["retry-after"]) == (503, "5"), answer
        assert running.ask("/v2/health/ready")[0] == running.ask("/v2/models/busy/ready")[0] == 503
        running.wait_until_ready()
        assert running.ask("/v2/health/ready")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.onnx"], "missing.onnx does not exist"),
        (["{folder}/keys=keys"], "keys"),
        (["{folder}/small.onnx", "--host", "0.0.0.0"], "answers other machines; name keys with --api-key-file"),
        (["{folder}/small.onnx", "--api-key-file", "{folder}/nothing"], "cannot be read"),
        (["{folder}/small.onnx", "--methods", "saliency,magic"], "'magic' is unknown"),
        (["{folder}/small.onnx", "--max-body", "20 potatoes"], "--max-body is a number such as 20MB"),
        (["{folder}/small.onnx", "{folder}/small.onnx"], "two models are called 'small'"),
        (["{folder}/small.onnx", "--queue", "0"], "--queue is a whole number"),
        (["{folder}/small.onnx", "--log-explanations", "{folder}/keys"], "cannot be made"),
        (["{folder}/small.onnx", "--log-format", "csv"], "--log-format is jsonl or parquet; found 'csv'"),
        (["{folder}/small.onnx"], "cannot be listened at"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(arguments: list[str], words: str, folder: Path, tmp_path: Path) -> None:
    filled = [one.format(folder=folder) for one in arguments]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if words == "cannot be listened at" else 0
        command = [str(python()), "-m", "onnxplain", "serve", *filled, "--grpc-port", "0", "--port", str(port)]
        done = subprocess.run(command, env=surroundings(tmp_path / "path"), capture_output=True, text=True, timeout=120)
    lines = [line for line in done.stderr.splitlines() if "http://" not in line]
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    assert words in lines[0], done.stderr


def _present(running: Service) -> float:
    text = running.ask("/metrics")[1].decode()
    sums = [
        line for line in text.splitlines() if line.startswith("onnxplain_step_seconds_count") and 'step="read"' in line
    ]
    return sum(float(line.split()[-1]) for line in sums)


def _until(done: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
