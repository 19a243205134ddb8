"""``onnxplain bulk --engine ray``: the same shards by actors of Ray, also where one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import REPOSITORY
from support import bulk as made
from support.command_line import Runner

pytest.importorskip("pyarrow")

#: What Ray says where the machine is too busy for the fixed time that it gives its agent (ray-project/ray#65983).
_TOO_BUSY = "The current node timed out during startup"
_COMMON = ("model.onnx", "photos", "-m", "smoothgrad", "--set", "samples=300", "--shard-size", "2", "--threads", "1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    made.write_model(tmp_path)
    made.write_photos(tmp_path / "photos", 40)
    (tmp_path / "photos" / "0007.png").write_bytes(b"no picture")
    return Runner(tmp_path, monkeypatch, capsys)


def actors_of(process: int) -> list[int]:
    """The processes of Ray's actors below a process."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(entry.name)] = (entry / "cmdline").read_text()
        except (OSError, ValueError):
            continue

    def below(one: int) -> bool:
        return one in parents and (parents[one] == process or below(parents[one]))

    return [one for one, name in names.items() if name.startswith("ray::MapWorker") and below(one)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
def test_an_actor_that_is_killed_loses_and_doubles_nothing(run: Runner) -> None:
    pytest.importorskip("ray")
    assert run("bulk", *_COMMON, "-o", "whole", "--quiet").code == 3
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", "onnxplain", "bulk", *_COMMON, "-o", "maps", "--engine", "ray"]
    with open("err", "w") as err:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=err, text=True)
    killed: list[int] = []
    end = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < end and not killed:
        time.sleep(0.05)
        if 0 < len(list(Path("maps").glob("*.parquet"))) < 18:
            killed = actors_of(process.pid)
            for one in killed:
                os.kill(one, signal.SIGKILL)
    try:
        out, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    if _TOO_BUSY in Path("err").read_text():
        pytest.skip(f"Ray: {_TOO_BUSY}")
    assert killed, "all shards were written before an actor was found"
    assert (process.returncode, out) == (3, "maps: 40 photos in 20 shards, 1 error\n"), Path("err").read_text()
    assert sorted(os.listdir("maps")) == sorted(os.listdir("whole"))
    assert made.rows(Path("maps")) == made.rows(Path("whole"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "dask"), "--engine is local or ray; found 'dask'"),
        (("--address", "auto"), "belong to --engine ray"),
        (("--engine", "ray", "--actors", "0"), "--actors is 1 or more"),
        (("--engine", "ray", "--gpus", "-1"), "--gpus 0 or more"),
    ],
)
def test_options_of_an_engine_that_make_no_sense_are_refused(
    run: Runner, options: tuple[str, ...], message: str
) -> None:
    code, _, err = run("bulk", "model.onnx", "photos", "-o", "maps", *options)
    assert code == 1 and message in err
    assert "maps" not in os.listdir()


def test_without_ray_the_error_has_the_pip_line(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run("bulk", "model.onnx", "photos", "-o", "maps", "--engine", "ray")
    assert code == 1 and 'this engine needs Ray: python -m pip install "onnxplain[ray]" (in a checkout: ' in err
