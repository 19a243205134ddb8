"""Runs that are killed, a disk that is full, a folder that cannot be written: nothing is lost, nothing half-written."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

from support import bulk as made

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made.write_model(tmp_path)
    made.write_photos(tmp_path / "photos", 60)
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_a_run_killed_at_ten_random_moments_has_the_same_rows(folder: Path) -> None:
    common = ("model.onnx", "photos", "-m", "smoothgrad", "--set", "samples=200", "--shard-size", 3)
    made.finish(made.start(folder, *common, "-o", "first"), folder)  # imports, and prepares the model
    began = time.monotonic()
    assert made.finish(made.start(folder, *common, "-o", "whole"), folder)[0] == 0
    took = time.monotonic() - began
    moments, shards = random.Random(5), [0]
    for turn in range(10):
        process = made.start(folder, *common, "-o", "maps", "--resume")
        before, latest = shards[-1], time.monotonic() + took
        while turn % 2 and len(list(folder.glob("maps/*.parquet"))) == before and time.monotonic() < latest:
            time.sleep(0.01)  # every other one is killed behind a shard
        process.join(timeout=moments.uniform(0, 0.3) * took)
        process.kill()
        process.join()
        shards.append(len(list(folder.glob("maps/*.parquet"))))
    assert len({*shards} - {0, 20}) > 0, f"the kills came too early or too late to tell anything: {shards}"
    assert made.finish(made.start(folder, *common, "-o", "maps", "--resume"), folder)[::2] == (0, "")
    files = [sorted(file.name for file in (folder / name).iterdir()) for name in ("whole", "maps")]
    assert files[0] == files[1]
    assert made.rows(folder / "maps") == made.rows(folder / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of POSIX")
def test_a_full_disk_is_one_line_and_nothing_half_written(folder: Path) -> None:
    common = ("model.onnx", "photos", "-o", "maps", "--shard-size", 50)
    code, out, err = made.finish(made.start(folder, *common, limit=9000), folder)
    assert (code, out) == (1, "")
    assert err == f"onnxplain: error: {folder / 'maps' / 'maps-00000.parquet'} cannot be written: File too large.\n"
    assert os.listdir(folder / "maps") == ["run.json"]
    code, out, _ = made.finish(made.start(folder, *common, "--resume"), folder)
    assert (code, out) == (0, "maps: 60 photos in 2 shards, 0 errors\n")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that even root cannot write to")
@pytest.mark.parametrize("out", ["/proc/self", "/proc/self/maps/of/photos"])
def test_a_folder_that_cannot_be_written_is_one_line(folder: Path, out: str) -> None:
    code, printed, err = made.finish(made.start(folder, "model.onnx", "photos", "-o", out), folder)
    assert (code, printed) == (1, "")
    assert err.startswith("onnxplain: error: ") and "/proc/self" in err and "cannot be" in err
    assert err.count("\n") == 1
