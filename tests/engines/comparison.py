"""Differentiated models in an engine, compared with ONNX Runtime's CPU provider."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx

from engines.environments import RUNNERS, Engine
from engines.models import Sample, difference
from engines.runners import exchange

#: No engine took longer for any of the models.
_SECONDS = 300


@dataclass(frozen=True)
class Outcome:
    """What an engine made of a model: the largest difference of a gradient or a map, or why it refused."""

    version: str = ""
    difference: float = float("inf")
    seconds: float = float("nan")
    refusal: str = ""


def outcome(engine: Engine, sample: Sample, rounds: int = 1) -> Outcome:
    """Run a model once and then so many times, in a process and in the environment of the engine."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(sample.in_form(engine.form).model, folder / "model.onnx")
        exchange.write(folder, "feeds.json", sample.feeds, outputs=list(sample.expected))
        try:
            own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            command = engine.command(rounds, [folder])
            done = subprocess.run(
                command, cwd=RUNNERS, env=own, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return Outcome(refusal=f"took longer than {_SECONDS} s")
        listed = folder / "found.json"
        if done.returncode or not listed.is_file():
            return Outcome(refusal=_reason(done.returncode, done.stderr + done.stdout))
        facts, found = json.loads(listed.read_text()), exchange.read(folder, "found.json")
        worst = max(difference(found[key], array) for key, array in sample.gradients.items())
        return Outcome(facts["version"], worst, facts["seconds"])


def _reason(code: int, said: str) -> str:
    """The line that says most of why a process ended."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("rror", "ailed", "not supported", "message:"))]
    return (telling or lines or [f"the process ended with {code}"])[-1][:300]
