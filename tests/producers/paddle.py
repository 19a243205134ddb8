"""PaddlePaddle through paddle2onnx; the gradients are its own backward pass's.

``pip install paddlepaddle paddle2onnx``, then ``python tests/producers/paddle.py``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file must not be taken for the package it imports

import numpy as np
import onnx
import paddle
from paddle import nn
from paddle.static import InputSpec

from producers.fixture import store


class Image(nn.Layer):
    """Convolutions with batch normalisation, depthwise, hard-swish, squeeze and excitation, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2D(3, 8, 3, 2, 1), nn.BatchNorm2D(8), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2D(8, 8, 5, 2, 2, groups=8), nn.BatchNorm2D(8), nn.ReLU6())
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Conv2D(8, 8, 1), nn.Hardsigmoid())
        self.pool, self.head = nn.MaxPool2D(2), nn.Linear(8, 5)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.depthwise(self.stem(x))
        x = self.pool(x * self.squeeze(x))
        return self.head(x.mean([2, 3]))


class Table(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(10, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 12), nn.Swish(), nn.Linear(12, 4)
        )


class Series(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.LSTM(3, 6), nn.Linear(6, 3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


class Audio(nn.Layer):
    """A waveform [N, 1, 192]. No leaky ReLU: paddle2onnx 2.1 writes a wrong slope, 2e-43."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1D(1, 8, 9, 4, 4), nn.Conv1D(8, 8, 5)
        self.head = nn.Linear(8, 3)

    def forward(self, wave: paddle.Tensor) -> paddle.Tensor:
        x = paddle.tanh(self.second(nn.functional.elu(self.first(wave))))
        return self.head(paddle.log1p(x.square().sum(2)))


class Text(nn.Layer):
    """``forward`` takes token ids, ``embedded`` their vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 8)
        self.attention, self.norm, self.head = nn.MultiHeadAttention(8, 2), nn.LayerNorm(8), nn.Linear(8, 3)

    def embedded(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.head(self.norm(x + self.attention(x)).mean(1))

    def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
        return self.embedded(self.embedding(ids))


MODELS = {
    "image": (Image, (3, 26, 21)), "tabular": (Table, (10,)), "series_lstm": (Series, (7, 3)),
    "audio": (Audio, (1, 192)), "text": (Text, (9,)),
}  # fmt: skip


def export(model: nn.Layer, x: paddle.Tensor) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model")
        spec = [InputSpec([None, *x.shape[1:]], str(x.dtype).removeprefix("paddle."), "x")]
        paddle.onnx.export(model, path, input_spec=spec, opset_version=17, enable_onnx_checker=True)
        return onnx.load(f"{path}.onnx")


def main() -> None:
    for name, (build, shape) in MODELS.items():
        paddle.seed(3)
        network = build()
        tokens = isinstance(network, Text)
        for _ in range(3):  # running means and variances of their own
            network(paddle.randint(0, 40, (8, *shape)) if tokens else paddle.randn((8, *shape)) + 0.3)
        network.eval()
        x = paddle.randint(0, 40, (2, *shape)) if tokens else paddle.randn((2, *shape))
        target = np.array([2, 1])
        leaf = (network.embedding(x) if tokens else x).detach()
        leaf.stop_gradient = False
        if isinstance(network, Series):
            network.train()  # Paddle keeps what the gradient of its LSTM needs in training only
        scores = network.embedded(leaf) if tokens else network(leaf)
        (scores[0, 2] + scores[1, 1]).backward()  # paddle.grad cannot leave out an LSTM's weights
        network.eval()
        model = nn.Sequential(network, nn.Softmax(1))
        model.eval()
        proto = export(model, x)
        tables = {t.name for t in proto.graph.initializer if list(t.dims) == [40, 8]}
        made = [n.output[0] for n in proto.graph.node if n.op_type == "Gather" and n.input[0] in tables]
        gradients = {made[0] if tokens else "x": leaf.grad.numpy()}
        packages = ("paddlepaddle", "paddle2onnx", "onnx")
        store(f"paddle_{name}", proto, {"x": x.numpy()}, target, gradients, script=__file__, packages=packages)


if __name__ == "__main__":
    main()
