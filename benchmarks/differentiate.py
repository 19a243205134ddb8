"""Time to differentiate a full-size network and growth of the file: ``python benchmarks/differentiate.py``.

ResNet-50 (25.6 million parameters) and ViT-B/16 (86.6 million), with random weights, exported by both of torch's
exporters with a dynamic batch. A time is that of ``onnxplain.differentiate(path)``: reading, preparing, the walk, the
checker, and the model with its weights as a message. The best of several rounds counts, since a shared machine only
ever adds time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import torch
from torch import nn

import onnxplain
from common import environment, table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.architectures.residual import Bottleneck, ResNet
from support.architectures.transformers import ViT

_STAGES = [(64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 2, 1), (512, 3, 2, 1)]
#: Name, network, and the seconds that differentiating it may take.
NETWORKS: list[tuple[str, Callable[[], nn.Module], float]] = [
    ("ResNet-50", partial(ResNet, Bottleneck, _STAGES, stem=64, classes=1000), 3.0),
    ("ViT-B/16", partial(ViT, 224, 16, 768, 12, 12, 1000), 8.0),
]
GROWTH = 0.05  # of the file


def export(network: nn.Module, path: Path, exporter: str) -> None:
    """Write the network to ``path`` with its weights inside."""
    x = torch.zeros(2, 3, 224, 224)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters warn about themselves
        if exporter == "dynamo":
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(
                network, (x,), dynamo=True, opset_version=18, dynamic_shapes=shapes, verbose=False
            )
            assert program is not None
            onnx.save(program.model_proto, path)
        else:
            torch.onnx.export(
                network, (x,), str(path), dynamo=False, opset_version=17, input_names=["x"], dynamic_axes={"x": [0]}
            )


def measure(path: Path, rounds: int, provider: str) -> tuple[float, float, int]:
    """The best time in seconds, the growth of the file as a fraction, and the number of nodes."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        found = onnxplain.differentiate(path, form=provider)
        best = min(best, time.perf_counter() - start)
    return best, found.ByteSize() / path.stat().st_size - 1, len(found.graph.node)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--providers", nargs="*", default=["portable", "cpu"], help="portable, cpu or cuda")
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, make, limit in NETWORKS:
            network = make().eval()
            for exporter in ("dynamo", "torchscript"):
                path = Path(folder, "model.onnx")
                export(network, path, exporter)
                for provider in arguments.providers:
                    seconds, growth, nodes = measure(path, arguments.rounds, provider)
                    rows.append([name, exporter, provider, f"{seconds:.2f}", f"{limit:.1f}", f"{growth:.2%}", nodes])
                    missed |= seconds > limit or growth > GROWTH
    print(environment("torch"), end="\n\n")
    print(table(["network", "exporter", "provider", "seconds", "limit", "growth of the file", "nodes"], rows))
    if missed:
        sys.exit("a limit was missed")


if __name__ == "__main__":
    main()
