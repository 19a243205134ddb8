"""The networks of the benchmarks in plain torch, random weights at the scale of trained ones, exported to ONNX.

Layer for layer those of the papers and of torchvision; BatchNorm is in evaluation mode with statistics that keep
activations at one scale, so that gradients neither vanish nor explode. Inputs are [N,3,224,224], outputs [N,1000].
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

import nets_more
from layers import CLASSES, conv


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(inputs, width, 3, stride), conv(width, width, 3, act=None))
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.body = nn.Sequential(
            conv(inputs, width, 1), conv(width, width, 3, stride), conv(width, outputs, 1, act=None)
        )
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 and inputs == outputs else conv(inputs, outputs, 1, stride, act=None)


def resnet(block: type[Basic] | type[Bottleneck], depths: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, depth in enumerate(depths):
        for index in range(depth):
            layers.append(block(inputs, 64 << stage, 2 if stage and not index else 1))
            inputs = (64 << stage) * block.expansion
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


def vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2, 2))
    head = [nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, CLASSES)]
    return nn.Sequential(*layers, nn.Flatten(), *head)


class Inverted(nn.Module):
    """Expansion 1x1, depthwise 3x3, projection 1x1; a shortcut where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers = [conv(inputs, width, 1, act=nn.ReLU6)] if expansion > 1 else []
        layers += [conv(width, width, 3, stride, width, nn.ReLU6), conv(width, outputs, 1, act=None)]
        self.body, self.residual = nn.Sequential(*layers), stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


#: Expansion, channels, depth and stride of the stages.
MOBILENET_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
)  # fmt: skip


def mobilenet_v2() -> nn.Module:
    layers: list[nn.Module] = [conv(3, 32, 3, 2, act=nn.ReLU6)]
    inputs = 32
    for expansion, width, depth, stride in MOBILENET_V2:
        for index in range(depth):
            layers.append(Inverted(inputs, width, 1 if index else stride, expansion))
            inputs = width
    layers.append(conv(inputs, 1280, 1, act=nn.ReLU6))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES))


class Fire(nn.Module):
    """Squeeze 1x1, then 1x1 and 3x3 side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.small, self.large = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.small(x)), torch.relu(self.large(x))], 1)


def squeezenet() -> nn.Module:
    """Version 1.0."""
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 7, 2), nn.ReLU()]
    inputs = 96
    for pooled, squeeze, expand in (
        (1, 16, 64), (0, 16, 64), (0, 32, 128), (1, 32, 128), (0, 48, 192), (0, 48, 192), (0, 64, 256), (1, 64, 256),
    ):  # fmt: skip
        layers += [nn.MaxPool2d(3, 2, ceil_mode=True)] if pooled else []
        layers.append(Fire(inputs, squeeze, expand))
        inputs = 2 * expand
    return nn.Sequential(*layers, nn.Conv2d(512, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5, dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """ViT-S/16."""

    def __init__(self, width: int = 384, heads: int = 6, depth: int = 12) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, 197, width) * 0.02)
        self.blocks = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


NETS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": lambda: resnet(Bottleneck, (3, 4, 6, 3)),
    "resnet18": lambda: resnet(Basic, (2, 2, 2, 2)),
    "vgg16": vgg16,
    "mobilenet_v2": mobilenet_v2,
    "squeezenet": squeezenet,
    "vit_s": VisionTransformer,
    **nets_more.NETS,
}


def build(name: str) -> nn.Module:
    """The network in evaluation mode, with weights that depend on nothing but this code."""
    torch.manual_seed(0)
    model = NETS[name]()
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and name != "vit_s":
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.05)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        with torch.no_grad():
            model.train()(torch.randn(8, 3, 224, 224))  # statistics of what each layer sees
    return model.eval().requires_grad_(False)


def export(model: nn.Module) -> onnx.ModelProto:
    """Opset 17 with a symbolic batch; BatchNorm is folded into the convolutions."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.randn(2, 3, 224, 224),), file, dynamo=False, opset_version=17, input_names=["x"],
            output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
        )  # fmt: skip
    return onnx.load_model_from_string(file.getvalue())


def cached(name: str, folder: Path) -> tuple[onnx.ModelProto, nn.Module]:
    """The network as ONNX (from ``folder`` if it is there) and in torch."""
    model, path = build(name), folder / f"{name}.onnx"
    if not path.exists():
        onnx.save(export(model), path)
    return onnx.load(path), model
