"""Saliency maps on a GPU, against Captum: ``python benchmarks/gpu.py``, with ``onnxplain[gpu]`` and torch for CUDA.

``Explainer.saliency`` on arrays in host memory, where only the maps come back from the GPU, against Captum's Saliency
on the same torch network with the same reduction, eager and (``--compile``) with torch.compile, whose images start in
host memory and whose maps end there too. Interleaved in one process; medians over rounds of ratios within a round.
Correctness is checked in the same run: maps of the CPU and of the GPU, and Captum's, differ by at most so much.

Nothing of this was measured yet: no GPU was at hand when it was written. What is to be found out: whether gradients of
convolutions are faster as transposed or as flipped ones (``--form cuda`` or ``cpu``), with channels last (``--options
prefer_nhwc=1``) and in half precision (``--precision float16``, whose maps differ as ``half_precision.py`` says).
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from captum.attr import Saliency

import common
import nets
from onnxplain import Explainer
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.runtime import CPU, CUDA
from saliency import reduced

NETS = {"resnet50": nets.NETS["resnet50"], "vit_b": lambda: nets.VisionTransformer(768, 12, 12)}
HEADER = ("network", "batch", "onnxplain", "captum / onnxplain", "compiled / onnxplain", "GPU - CPU", "GPU - captum")


def torch_call(model: torch.nn.Module, x: np.ndarray, target: np.ndarray) -> common.Call:
    """Host memory to host memory, which waits for the GPU."""
    method, images, classes = Saliency(model), torch.from_numpy(x).pin_memory(), torch.from_numpy(target).cuda()
    return lambda: reduced(method.attribute(images.cuda(non_blocking=True).requires_grad_(), classes)).cpu().numpy()


def row(name: str, batch: int, options: argparse.Namespace) -> list[str]:
    torch.manual_seed(0)
    model = nets.build(name) if name in nets.NETS else NETS[name]().eval().requires_grad_(False)
    proto = nets.export(model)
    x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), np.float32)
    target = np.arange(batch, dtype=np.int64)
    providers = [(CUDA, dict(pair.split("=", 1) for pair in options.options)), CPU]
    explainer = Explainer(proto, providers=providers, batch_size=min(batch, options.chunk), precision=options.precision)
    if explainer.provider != CUDA:
        raise SystemExit("ONNX Runtime runs the model on the CPU; install onnxruntime-gpu and its CUDA libraries.")
    calls: dict[str, common.Call] = {"onnxplain": lambda: explainer.saliency(x, target)}
    model.cuda()
    calls["captum"] = torch_call(model, x, target)
    if options.compile:
        calls["compiled"] = torch_call(torch.compile(model), x, target)
    ours = np.asarray(calls["onnxplain"]())
    on_cpu = np.asarray(Explainer(proto, providers=CPU).saliency(x[:2], target[:2]))
    apart = [np.abs(ours[:2] - on_cpu).max(), np.abs(ours - calls["captum"]()).max()]
    seconds = common.measure(calls, options.rounds)
    mine = seconds["onnxplain"]
    cells = [name, str(batch), f"{statistics.median(mine) * 1e3:.1f} ms"]
    cells += [f"{common.ratio(seconds[o], mine):.2f}" if o in seconds else "-" for o in ("captum", "compiled")]
    return [*cells, *(f"{difference:.0e}" for difference in apart)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="*", default=[*NETS], choices=[*NETS])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8, 64, 256])
    parser.add_argument("--chunk", type=int, default=64, help="samples that run at once")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--precision", default="float32", choices=["float32", "float16"], help="ours; torch's is float32"
    )
    parser.add_argument("--form", default="cuda", choices=[*PASSES], help="of gradients: cuda transposes, cpu flips")
    parser.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="CUDA provider: prefer_nhwc=1")
    parser.add_argument("--compile", action="store_true", help="also torch.compile")
    options = parser.parse_args()
    PASSES["cuda"] = PASSES[options.form]
    chosen = " ".join([options.precision, options.form, *options.options])
    print(f"`python benchmarks/gpu.py`, {options.rounds} rounds, {chosen}, {torch.cuda.get_device_name()}.", end=" ")
    print(common.environment("onnxruntime-gpu", "torch", "captum"))
    print(f"\n{common.table(HEADER, [])}", flush=True)
    for name in options.nets:
        for batch in options.batches:
            print(f"| {' | '.join(row(name, batch, options))} |", flush=True)


if __name__ == "__main__":
    main()
