"""Saliency maps with and without operators of our own: ``python benchmarks/operators.py``.

``Explainer.saliency`` with ``ONNXPLAIN_OPERATORS`` on and off, as multiples of the forward pass of the same model
without gradients, all interleaved in one process. Medians over rounds of the ratios within a round, in brackets the
smallest time of all rounds over the smallest of the forward pass. The last column says what stands between the gradient
and twice the forward pass, as shares of it on one thread at batch 1, from ONNX Runtime's profile: first what
convolutions and products take, forwards and backwards, then the operators beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

import common
import nets
from onnxplain import Explainer
from onnxplain.autodiff import differentiate
from onnxplain.bundled import bundled_model
from onnxplain.runtime import CPU, Session
from onnxplain.runtime.operators.rewrite import rewrite_file

BUNDLED = "bundled efficientnet_lite0"
#: The limits that were set: saliency / forward at batch 8 and 1.
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "mobilenet_v2": (2.3, 2.4), BUNDLED: (2.2, 2.3), "squeezenet": (2.4, 2.6), "efficientnet_b0": (2.6, 2.6),
    "vit_s": (2.05, 2.05),
}  # fmt: skip


#: What a forward pass mostly consists of.
HEAVY = frozenset({"Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm"})


def explainer(model: onnx.ModelProto, state: str, x: np.ndarray, folder: Path) -> Explainer:
    """An Explainer with or without the operators, with all its sessions open."""
    os.environ["ONNXPLAIN_OPERATORS"] = state
    made = Explainer(model, providers=CPU, cache=folder / "operators")
    made.saliency(x, 7)
    os.environ["ONNXPLAIN_OPERATORS"] = "on"
    return made


def row(name: str, batch: int, options: argparse.Namespace) -> list[str]:
    model = onnx.load(bundled_model()) if name == BUNDLED else nets.cached(name, options.folder)[0]
    source, scores = model.graph.input[0].name, model.graph.output[0].name
    x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
    forward = Session(model, providers=CPU)
    states = {state: explainer(model, state, x, options.folder) for state in ("on", "off")}
    calls: dict[str, common.Call] = {"forward": lambda: forward.run({source: x}, [scores])}
    calls |= {state: lambda one=one: one.saliency(x, 7) for state, one in states.items()}
    seconds = common.measure(calls, options.rounds, options.pause)
    unit = seconds["forward"]
    ratios = [f"{common.ratio(seconds[one], unit):.2f} ({min(seconds[one]) / min(unit):.2f})" for one in states]
    limit = LIMITS.get(name, (None, None))[batch == 1]
    cells = [name, str(batch), f"{statistics.median(unit) * 1e3:.0f} ms", *ratios]
    return [*cells, "" if limit is None else f"{limit:.2f}", rest(model, x[:1])]


def rest(model: onnx.ModelProto, x: np.ndarray) -> str:
    """Shares of the forward pass: convolutions and products, and the operators beside them that take most."""
    with tempfile.TemporaryDirectory() as folder:
        gradient = Path(folder) / "gradient.onnx"
        Session(differentiate(model, form="cpu"), providers=CPU, threads=1, save_to=gradient)
        rewrite_file(gradient)
        times, whole = profile(gradient, x, folder, optimised=True), profile(model, x, folder, optimised=False)
    unit = sum(whole.values())
    heavy = sum(time for kind, time in times.items() if kind in HEAVY)
    light = [f"{kind} {time / unit:.2f}" for kind, time in times.most_common() if kind not in HEAVY]
    return ", ".join([f"{heavy / unit:.2f}", *light[:4]])


def profile(model: onnx.ModelProto | Path, x: np.ndarray, folder: str, *, optimised: bool) -> Counter[str]:
    """Time of all nodes by operator, the smallest of several runs for each node."""
    settings = {"enable_profiling": True, "profile_file_prefix": f"{folder}/profile"}
    session = Session(model, providers=CPU, threads=1, optimised=optimised, options=settings)._session
    inputs = {one.name: np.zeros(1, np.int64) if "int" in one.type else x for one in session.get_inputs()}
    for _ in range(6):
        session.run(None, inputs)
    smallest: dict[tuple[str, str], float] = {}
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"], event["args"]["op_name"]
            smallest[key] = min(event["dur"], smallest.get(key, event["dur"]))
    times: Counter[str] = Counter()
    for (_, kind), time in smallest.items():
        times[kind] += time
    return times


HEADER = ("network", "batch", "forward", "on / forward", "off / forward", "limit", "convolutions and products; others")


def main() -> None:
    names = [*nets.NETS, BUNDLED]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=names, choices=names)
    parser.add_argument("--batches", nargs="*", type=int, default=[8, 1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds before each timed call")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="keeps the exported networks")
    options = parser.parse_args()
    print(f"`python benchmarks/operators.py`, {options.rounds} rounds.", common.environment("torch"))
    print(f"\n{common.table(HEADER, [])}", flush=True)
    for name in options.nets:
        for batch in options.batches:
            print(f"| {' | '.join(row(name, batch, options))} |", flush=True)


if __name__ == "__main__":
    main()
