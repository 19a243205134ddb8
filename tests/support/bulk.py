"""Folders of photos, tars and shards for the tests of bulk."""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
import tarfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import small_models as small

#: A column of a shard that is compared as it is; maps are compared by their bytes.
Table = list[dict[str, Any]]


def write_model(folder: Path) -> Path:
    """A small classifier of photos with labels and preprocessing, maps of 4x4."""
    path = folder / "model.onnx"
    path.write_bytes(small.quadratic(ending="Softmax", metadata=small.image_metadata()).SerializeToString())
    return path


def png(number: int, height: int = 12, width: int = 16) -> bytes:
    """A picture of noise, another for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_photos(folder: Path, count: int) -> Path:
    """``count`` pictures in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:04}.png").write_bytes(png(number))
    return folder


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar with these files, in order."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def rows(folder: Path) -> Table:
    """All rows of the shards of a folder, in order; maps as nested lists."""
    import pyarrow.parquet as parquet

    found: Table = []
    for file in sorted(folder.glob("maps-*.parquet")):
        table = parquet.read_table(file)
        maps = table.column("map").combine_chunks()
        storage = [one.as_py() for one in (maps.storage if hasattr(maps, "storage") else maps)]
        found += [{**row, "map": one} for row, one in zip(table.drop_columns(["map"]).to_pylist(), storage)]
    return found


def start(folder: Path, *arguments: object, limit: int | None = None) -> BaseProcess:
    """``onnxplain bulk`` in a process of its own, which has imported everything before it starts.

    What it prints is in the files ``out`` and ``err`` of the folder. ``limit`` is the greatest size of its files in
    bytes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["onnxplain.explainer", "onnxplain.bulk.run", "onnxruntime", "pyarrow.parquet"])
    process = context.Process(target=_run, args=(folder, [*map(str, arguments)], limit))
    process.start()
    return process


def finish(process: BaseProcess, folder: Path) -> tuple[int | None, str, str]:
    """The exit code of a process, and what it printed."""
    process.join(timeout=300)
    return process.exitcode, (folder / "out").read_text(), (folder / "err").read_text()


def _run(folder: Path, arguments: Sequence[str], limit: int | None) -> None:
    import resource

    from onnxplain import cli

    os.chdir(folder)
    sys.argv = ["onnxplain", "bulk", *arguments]
    with open("out", "w") as out, open("err", "w") as err, redirect_stdout(out), redirect_stderr(err):
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        cli.main()
