"""How time and memory grow: ``python benchmarks/growth.py prepare``, ``... measure`` and ``... table``.

Along one axis at a time: images of a batch, pixels, threads, classes, parameters; for ONNX Runtime and OpenVINO on the
CPU, forms ``cpu_shared`` and ``openvino``, without operators of our own, against the plain forward pass.

Every figure comes from a process of its own, which loads one file, runs it once and then up to five times. Times are
the smallest: of one thread (all axes but ``threads``) the processor time, which other programs disturb less. Memory is
the peak of that process, with the runtime and what it makes of the weights. A process that wants more than
``--memory`` GiB ends, and its cells are empty. ``measure`` keeps what it has in ``FOLDER/growth.jsonl`` and goes on
from there, so that it can be run in parts. ``prepare`` needs torch, 12 GB of disk and as much memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import common

#: Runtimes, and the form that each gets.
FORMS = {"onnxruntime": "cpu_shared", "openvino": "openvino"}
PARTS = ("forward", "gradient")
RUNS, ENOUGH = 5, 4.0  # runs after the first; no more of them after so many seconds


@dataclass(frozen=True)
class Point:
    """One place on an axis: the file that runs there, and with what."""

    axis: str
    value: str
    file: str
    batch: int = 1
    pixels: int = 224
    threads: int = 1

    def path(self, folder: Path, runtime: str, part: str) -> Path:
        """The file of a part: the model, or its gradient in the form of a runtime."""
        return folder / self.file / ("model.onnx" if part == "forward" else f"{FORMS[runtime]}.onnx")


#: Width, heads and depth of vision transformers on 16x16 patches of 224x224 pixels, by millions of parameters.
TRANSFORMERS = {
    "1": (96, 3, 8),
    "6": (192, 3, 12),
    "22": (384, 6, 12),
    "86": (768, 12, 12),
    "303": (1024, 16, 24),
    "631 (2.5 GB)": (1280, 16, 32),
}
CLASSES = (10, 1000, 10_000, 21_000)
PIXELS = (96, 160, 224, 384, 512, 768, 1024)

POINTS = (
    *(Point("batch", str(n), "mobilenet_v2", batch=n) for n in (1, 2, 4, 8, 16, 32, 64, 128)),
    *(Point("pixels", f"{n} x {n}", f"pixels_{n}", pixels=n) for n in PIXELS),
    *(Point("threads", str(n), "mobilenet_v2", batch=8, threads=n) for n in (1, 2)),
    *(Point("classes", f"{n:,}", f"classes_{n}") for n in CLASSES),
    *(Point("parameters, in millions", name, f"vit_{width}") for name, (width, _, _) in TRANSFORMERS.items()),
)


def prepare(folder: Path, points: Iterable[Point]) -> None:
    """Write the files that are missing."""
    from onnxplain.autodiff import differentiate_file

    for point in points:
        place = folder / point.file
        if not (place / "model.onnx").exists():
            place.mkdir(parents=True, exist_ok=True)
            _makers()[point.file](place / "model.onnx")
        for runtime, form in FORMS.items():
            gradient = point.path(folder, runtime, "gradient")
            if not gradient.exists():
                differentiate_file(place / "model.onnx", gradient, form=form)
        print(f"{point.file} is there", file=sys.stderr, flush=True)


def _makers() -> Mapping[str, Callable[[Path], None]]:
    """What writes a model, by the name of its folder."""
    return {
        "mobilenet_v2": _mobilenet,
        **{f"pixels_{n}": partial(_mobilenet, pixels=n) for n in PIXELS},
        **{f"classes_{n}": partial(_mobilenet, classes=n) for n in CLASSES},
        **{f"vit_{sizes[0]}": partial(_transformer, sizes=sizes) for sizes in TRANSFORMERS.values()},
    }


def _mobilenet(path: Path, pixels: int = 224, classes: int = 1000) -> None:
    """MobileNetV2, for images of other extents or with another number of classes."""
    import onnx
    from torch import nn

    import nets

    network = nets.build("mobilenet_v2")
    if classes != network[-1].out_features:
        network[-1] = nn.Linear(network[-1].in_features, classes)
    model = nets.export(network.eval().requires_grad_(False))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = pixels
    del model.graph.value_info[:]
    onnx.save(model, path)


def _transformer(path: Path, sizes: tuple[int, int, int]) -> None:
    """A vision transformer; above 2 GB its weights lie beside the file."""
    import torch

    import nets

    width, heads, depth = sizes
    model = nets.VisionTransformer(width, heads, depth).eval().requires_grad_(False)
    torch.onnx.export(
        model, (torch.randn(2, 3, 224, 224),), str(path), dynamo=False, opset_version=17, input_names=["x"],
        output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
    )  # fmt: skip


def measure(folder: Path, points: Iterable[Point], memory: float) -> None:
    """Measure what ``growth.jsonl`` does not have; ``memory``: GiB that a process may take."""
    kept = folder / "growth.jsonl"
    known = {_key(entry) for entry in read(kept)}
    for point in points:
        for runtime in FORMS:
            for part in PARTS:
                entry: dict[str, Any] = {"axis": point.axis, "value": point.value, "runtime": runtime, "part": part}
                if _key(entry) not in known:
                    entry |= measured(point, folder, runtime, part, memory)
                    with kept.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(entry) + "\n")
                    print(entry, file=sys.stderr, flush=True)


def measured(point: Point, folder: Path, runtime: str, part: str, memory: float) -> dict[str, Any]:
    """Seconds of a run and peak memory in MiB, or why there are none."""
    shape = (point.batch, 3, point.pixels, point.pixels)
    arguments = [runtime, str(point.path(folder, runtime, part)), json.dumps(shape), str(point.threads), str(memory)]
    command = [sys.executable, str(Path(__file__)), "one", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        return {"failed": said[-1][:200] if said else f"the process ended with {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(runtime: str, path: Path, shape: tuple[int, ...], threads: int, memory: float) -> dict[str, float]:
    """Load a file, run it, and say how long a run took, in seconds, and the peak of this process, in MiB."""
    import resource

    limit = int(memory * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    run = {"onnxruntime": _in_onnxruntime, "openvino": _in_openvino}[runtime](path, shape, threads)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    run(x)
    clock, seconds = time.process_time if threads == 1 else time.perf_counter, list[float]()
    while len(seconds) < RUNS and sum(seconds) < ENOUGH:
        begin = clock()
        run(x)
        seconds.append(clock() - begin)
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {"seconds": min(seconds), "peak": peak / 1024}


def _in_onnxruntime(path: Path, shape: tuple[int, ...], threads: int) -> Callable[[np.ndarray], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image, *others = (value.name for value in session.get_inputs())
    wanted = [value.name for value in session.get_outputs()]
    wanted = [name for name in wanted if name.startswith("grad_")] or wanted
    target = {name: np.zeros(shape[0], np.int64) for name in others}
    return lambda x: session.run(wanted, {image: x, **target})


def _in_openvino(path: Path, shape: tuple[int, ...], threads: int) -> Callable[[np.ndarray], object]:
    import openvino

    core = openvino.Core()
    model = core.read_model(str(path))
    image, *others = (port.any_name for port in model.inputs)
    model.reshape({image: list(shape), **{name: [shape[0]] for name in others}})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    target = {name: np.zeros(shape[0], np.int64) for name in others}
    return lambda x: request.infer({image: x, **target}, share_inputs=True)


def read(path: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _key(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(entry[name]) for name in ("axis", "value", "runtime", "part"))


def tables(entries: Iterable[Mapping[str, Any]]) -> str:
    """A table for each axis; times are multiples of the same runtime's forward pass, memory is in MiB."""
    found: dict[str, dict[str, dict[tuple[str, str], Mapping[str, Any]]]] = {}
    for entry in entries:
        row = found.setdefault(entry["axis"], {}).setdefault(entry["value"], {})
        row[entry["runtime"], entry["part"]] = entry
    header = ["ORT forward", "gradient", "OpenVINO forward", "gradient"]
    header += ["ORT forward, MiB", "gradient", "OpenVINO forward, MiB", "gradient"]
    return "\n\n".join(
        common.table([axis, *header], [[value, *_cells(cells)] for value, cells in rows.items()])
        for axis, rows in found.items()
    )


def _cells(row: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    """Times of both runtimes, and then their memory."""
    times, memory = list[str](), list[str]()
    for runtime in FORMS:
        forward, gradient = (row.get((runtime, part), {}) for part in PARTS)
        times.append(f"{forward['seconds'] * 1e3:.0f} ms" if "seconds" in forward else "-")
        both = "seconds" in forward and "seconds" in gradient
        times.append(f"{gradient['seconds'] / forward['seconds']:.2f}" if both else "-")
        memory += [f"{part['peak']:.0f}" if "peak" in part else "-" for part in (forward, gradient)]
    return times + memory


def main() -> None:
    """Prepare, measure, print tables, or (``one``) be the process that measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    axes = list(dict.fromkeys(point.axis for point in POINTS))
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("prepare", "measure", "table"):
        command = commands.add_parser(name)
        command.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "growth")
        command.add_argument("--axes", nargs="*", default=axes, choices=axes)
        command.add_argument("--memory", type=float, default=12, help="GiB that a process may take")
    single = commands.add_parser("one")
    for name, kind in (("runtime", str), ("path", Path), ("shape", json.loads), ("threads", int), ("memory", float)):
        single.add_argument(name, type=kind)
    given = parser.parse_args()
    if given.command == "one":
        shape = tuple(given.shape)
        print(json.dumps(one(given.runtime, given.path, shape, given.threads, given.memory)))
        return
    points = [point for point in POINTS if point.axis in given.axes]
    if given.command == "prepare":
        prepare(given.folder, points)
    elif given.command == "measure":
        measure(given.folder, points, given.memory)
    else:
        entries = read(given.folder / "growth.jsonl")
        print(f"{common.environment('openvino')}\n\n{tables(e for e in entries if e['axis'] in given.axes)}")


if __name__ == "__main__":
    main()
