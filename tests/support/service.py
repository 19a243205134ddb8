"""A service as a process of its own, and the environment that it and its clients run in."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environments import environment, path_of_the_package

#: What the service and the clients of other projects need; kserve takes no newer Python.
REQUIREMENTS = (
    "kserve>=0.21",
    "tritonclient[http,grpc]>=2.50",
    "schemathesis>=4",
    "onnx>=1.18",
    "onnx-ir>=0.1.13",
    "onnxruntime>=1.21",
    "openvino>=2026.0",
    "pillow>=10.3",
    "pyarrow>=17",
    "click>=8.1",
    "tqdm>=4.66",
)
SUPPORTED = sys.version_info < (3, 14)
_READY = re.compile(r"http://127\.0\.0\.1:(\d+), gRPC 127\.0\.0\.1:(\d+)")


@dataclass
class Service:
    """A service that runs: where it listens, its process, and what it wrote to stderr so far."""

    port: int
    grpc_port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ask(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        timeout: float = 120,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body (as JSON where it is any) and headers of an answer; bodies that are no bytes go as JSON."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})} if data is not None else dict(headers or {})
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, _value(answer.read()), dict(answer.headers.items())
        except urllib.error.HTTPError as error:
            return error.code, _value(error.read()), dict(error.headers.items())

    def wait_until_ready(self, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while "ready:" not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)


def _value(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content


def python() -> Path:
    """The Python of the environment."""
    return environment("serve", REQUIREMENTS)


def surroundings(place: Path) -> dict[str, str]:
    """Environment variables of a process there, in which ``place`` holds the package under test."""
    place.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "ONNXPLAIN_CACHE", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": path_of_the_package(place), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def run_client(place: Path, program: str, *arguments: object, timeout: float = 300) -> str:
    """Standard output of a program of a client in the environment."""
    command = [str(python()), "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=surroundings(place), capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@contextmanager
def service(place: Path, *arguments: object, ready: bool = True) -> Iterator[Service]:
    """Run ``onnxplain serve`` on free ports until the block ends; by then it must have ended in order."""
    place.mkdir(parents=True, exist_ok=True)
    log = place / "service.log"
    command = [str(python()), "-m", "onnxplain", "serve", *map(str, arguments), "--port", "0", "--grpc-port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=surroundings(place / "path"))
    try:
        running = Service(0, 0, process, log)
        end = time.monotonic() + 120
        while (found := _READY.search(running.text())) is None:
            assert process.poll() is None, running.text()
            assert time.monotonic() < end, running.text()
            time.sleep(0.05)
        running.port, running.grpc_port = int(found[1]), int(found[2])
        if ready:
            running.wait_until_ready()
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)
