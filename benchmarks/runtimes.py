"""OpenVINO against ONNX Runtime: ``python benchmarks/runtimes.py``, with the extra ``openvino``.

Interleaved in one process, batch 8, 224x224 pixels, with a pause before every timed call:

* forward: the plain model in each, one run on all cores,
* gradient: one run on all cores, of form ``openvino`` in OpenVINO and of form ``cpu_shared`` in ONNX Runtime, without
  operators of our own,
* saliency: ``Explainer.saliency`` with ``runtime="openvino"`` and without: ONNX Runtime runs one sample on each core,
  with operators of our own.

Cells are medians over rounds of the ratio within a round. ``--threads 1 --cpu-time`` counts processor time on one
thread, which other programs disturb less. ``--profile`` lists what takes OpenVINO's time, by kind of operator.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import common
from onnxplain import Explainer
from onnxplain.autodiff import differentiate
from onnxplain.bundled import bundled_model
from onnxplain.runtime import CPU, Session
from onnxplain.runtime.openvino import OpenVinoSession

BUNDLED = "bundled efficientnet_lite0"
NETS = ("mobilenet_v2", BUNDLED, "resnet50", "vit_s")
#: Kinds of operators that a profile lists.
_LISTED = 8


def model_of(net: str, folder: Path | None) -> onnx.ModelProto:
    """A network: the bundled one, an exported file in ``folder``, or exported now."""
    if net == BUNDLED:
        return onnx.load(bundled_model())
    if folder is not None:
        return onnx.load(folder / f"{net}.onnx")
    import nets

    return nets.export(nets.build(net))


def contestants(model: onnx.ModelProto, x: np.ndarray, threads: int, end_to_end: bool) -> dict[str, common.Call]:
    """What is timed, by name; the gradients return the gradient."""
    image, output = model.graph.input[0].name, model.graph.output[0].name
    feeds = {image: x, "target": np.arange(len(x))}
    gradients = {name: differentiate(model, form=form) for name, form in (("ort", "cpu_shared"), ("ov", "openvino"))}
    grad = f"grad_{image}"
    plain = Session(model, providers=[CPU], threads=threads)
    ours = Session(gradients["ort"], providers=[CPU], threads=threads)
    forward = OpenVinoSession(lambda: model, threads=threads)
    backward = OpenVinoSession(lambda: gradients["ov"], threads=threads)
    calls: dict[str, common.Call] = {
        "ort forward": lambda: plain.run({image: x}, [output])[0],
        "ov forward": lambda: forward.run({image: x}, [output])[0],
        "ort gradient": lambda: ours.run(feeds, [grad])[0],
        "ov gradient": lambda: backward.run(feeds, [grad])[0],
    }
    if end_to_end:
        explainers = {
            "ort": Explainer(model, cache=False, threads=threads),
            "ov": Explainer(model, cache=False, threads=threads, runtime="openvino"),
        }
        calls["ort saliency"] = lambda: explainers["ort"].saliency(x, 1)
        calls["ov saliency"] = lambda: explainers["ov"].saliency(x, 1)
    return calls


def timed(calls: dict[str, common.Call], seconds: float, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Times of as many rounds as fit, after one that warms up."""
    found: dict[str, list[float]] = collections.defaultdict(list)
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 3 or time.perf_counter() < end:
        for name, call in calls.items():
            time.sleep(0.05)
            begin = clock()
            call()
            if rounds:
                found[name].append(clock() - begin)
        rounds += 1
    return found


def row(net: str, batch: int, found: dict[str, list[float]], difference: float) -> list[str]:
    """A line of the table."""

    def ratio(name: str, of: str) -> str:
        return f"{common.ratio(found[name], found[of]):.2f}" if name in found else ""

    return [
        net,
        str(batch),
        f"{np.median(found['ort forward']) * 1e3:.0f} ms",
        ratio("ov forward", "ort forward"),
        ratio("ort gradient", "ort forward"),
        ratio("ov gradient", "ort forward"),
        ratio("ov gradient", "ort gradient"),
        ratio("ov saliency", "ort saliency"),
        f"{difference:.0e}",
    ]


def difference_without_kinks(net: str, model: onnx.ModelProto) -> float:
    """The largest difference of a gradient on one photo-like input, of the largest element: median over ten inputs.

    An activation within rounding of a kink flips a mask in one of the two; half of the inputs have none.
    """
    image = model.graph.input[0].name
    ours = Session(differentiate(model, form="cpu_shared"), providers=[CPU], threads=1)
    theirs_model = differentiate(model, form="openvino")
    theirs = OpenVinoSession(lambda: theirs_model, threads=1)
    errors = []
    for seed in range(10):
        feeds = {image: _input(1, seed), "target": np.array([seed])}
        a, b = (session.run(feeds, [f"grad_{image}"])[0] for session in (ours, theirs))
        errors.append(float(np.abs(a - b).max() / np.abs(a).max()))
    return float(np.median(errors))


def profile(model: onnx.ModelProto, x: np.ndarray, threads: int) -> str:
    """What OpenVINO's profiler says of the gradient: time by kind of operator."""
    image = model.graph.input[0].name
    gradient = differentiate(model, form="openvino")
    session = OpenVinoSession(lambda: gradient, threads=threads, options={"PERF_COUNT": True})
    for _ in range(4):
        session.run({image: x, "target": np.arange(len(x))}, [f"grad_{image}"])
    request = next(iter(session._compiled.values()))._free[0]
    times: collections.Counter[tuple[str, str]] = collections.Counter()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for info in request.profiling_info:
        kind = info.node_type, info.exec_type
        times[kind] += info.real_time.total_seconds()
        counts[kind] += 1
    total = sum(times.values())
    rows = [[*kind, counts[kind], f"{value / total:.3f}"] for kind, value in times.most_common(_LISTED)]
    return common.table(["operator", "kernel", "count", "share"], rows)


def _input(batch: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((batch, 3, 224, 224), np.float32)


def main() -> None:
    """Print the table, or profiles."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--nets", nargs="*", default=NETS)
    parser.add_argument("--folder", type=Path, help="exported networks, by name")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=30, help="for each network")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--no-saliency", action="store_true", help="leave Explainer.saliency out")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    clock = time.process_time if given.cpu_time else time.perf_counter
    rows = []
    for net in given.nets:
        model, x = model_of(net, given.folder), _input(given.batch)
        if given.profile:
            print(f"{net}:\n\n{profile(model, x, given.threads)}\n", flush=True)
            continue
        calls = contestants(model, x, given.threads, not given.no_saliency)
        rows.append(row(net, given.batch, timed(calls, given.seconds, clock), difference_without_kinks(net, model)))
        print(f"{net} done", file=sys.stderr, flush=True)
    if rows:
        header = ["network", "batch", "ORT forward", "OpenVINO forward", "ORT gradient", "OpenVINO gradient"]
        header += ["OpenVINO / ORT", "saliency: OpenVINO / ORT", "difference"]
        print(f"{common.environment('openvino')}\n\n{common.table(header, rows)}")


if __name__ == "__main__":
    main()
