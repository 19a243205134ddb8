"""PyTorch by both exporters; the gradients are autograd's.

``pip install torch onnx onnxscript``, then ``python tests/producers/torch.py``.
"""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file must not be taken for the package it imports

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from producers.fixture import store


class Image(nn.Module):
    """Depthwise and grouped convolution, batch normalisation, squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 5, 2, 2, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.stem(x))
        x = x * torch.nn.functional.hardsigmoid(self.squeeze(x))
        return self.head(x.amax((2, 3)))


class Table(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(10, 16), nn.BatchNorm1d(16), nn.Mish(), nn.Linear(16, 12), nn.PReLU(12), nn.Linear(12, 4)
        )


class Audio(nn.Module):
    """The spectrogram of a waveform by a convolution with windowed sines and cosines, then a classifier."""

    def __init__(self) -> None:
        super().__init__()
        phase = 2 * torch.pi * torch.arange(17)[:, None] * torch.arange(32) / 32
        filters = torch.cat([phase.cos(), -phase.sin()]) * torch.hann_window(32)
        self.register_buffer("filters", filters[:, None])
        self.convolution = nn.Conv1d(17, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, wave: Tensor) -> Tensor:
        spectrum = torch.nn.functional.conv1d(wave[:, None], self.filters, stride=8)
        power = spectrum[:, :17] ** 2 + spectrum[:, 17:] ** 2
        return self.head(torch.relu(self.convolution(torch.log1p(power))).mean(2))


class Series(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(3, 6, batch_first=True, bidirectional=True), nn.GRU(12, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)[0])[0][:, -1])


class Text(nn.Module):
    """A transformer block; ``forward`` takes token ids, ``embedded`` their vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 3)

    def embedded(self, x: Tensor) -> Tensor:
        return self.head(self.block(x).mean(1))

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedded(self.embedding(ids))


MODELS = {
    "image": (Image, (3, 21, 26)), "tabular": (Table, (10,)), "audio_spectrogram": (Audio, (256,)),
    "series_lstm_gru": (Series, (7, 3)), "text_transformer": (Text, (9,)),
}  # fmt: skip


def export(model: nn.Module, x: Tensor, dynamo: bool) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},)
            return torch.onnx.export(model, (x,), input_names=["x"], dynamic_shapes=shapes, dynamo=True).model_proto
        buffer = io.BytesIO()
        axes = {"x": {0: "batch"}}
        torch.onnx.export(model, (x,), buffer, input_names=["x"], dynamic_axes=axes, opset_version=17, dynamo=False)
    return onnx.load_from_string(buffer.getvalue())


def main() -> None:
    for name, (build, shape) in MODELS.items():
        torch.manual_seed(3)
        network = build()
        tokens = isinstance(network, Text)
        for _ in range(3):  # running means and variances of their own
            network(torch.randint(0, 40, (8, *shape)) if tokens else torch.randn(8, *shape) + 0.3)
        network.eval()
        x = torch.randint(0, 40, (2, *shape)) if tokens else torch.randn(2, *shape)
        target = torch.tensor([2, 1])
        leaf = (network.embedding(x) if tokens else x).detach().requires_grad_()
        scores = network.embedded(leaf) if tokens else network(leaf)
        (found,) = torch.autograd.grad(scores[torch.arange(2), target].sum(), leaf)
        model = nn.Sequential(network, nn.Softmax(1)).eval()
        for exporter in ("dynamo", "torchscript"):
            proto = export(model, x, exporter == "dynamo")
            tables = {t.name for t in proto.graph.initializer if list(t.dims) == [40, 8]}
            made = [n.output[0] for n in proto.graph.node if n.op_type == "Gather" and n.input[0] in tables]
            gradients = {made[0] if tokens else "x": found.numpy()}
            packages = ("torch", "onnx", "onnxscript")
            inputs = {"x": x.numpy()}
            store(
                f"torch_{name}_{exporter}",
                proto,
                inputs,
                np.asarray(target),
                gradients,
                script=__file__,
                packages=packages,
            )


if __name__ == "__main__":
    main()
