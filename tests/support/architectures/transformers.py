"""Networks of attention and layer normalisation: ConvNeXt, ViT, Swin, a text classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import CLASSES, Architecture


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, then LayerNorm and a two-layer perceptron over channels last (Liu et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand, self.project = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.empty(channels).uniform_(0.2, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.project(F.gelu(self.expand(y))) * self.scale
        return x + y.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of NCHW."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 4, stride=4),
            ChannelNorm(12),
            ConvNeXtBlock(12),
            ConvNeXtBlock(12),
            ChannelNorm(12),
            nn.Conv2d(12, 20, 2, stride=2),
            ConvNeXtBlock(20),
        )
        self.norm, self.fc = nn.LayerNorm(20), nn.Linear(20, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.features(x).mean([2, 3])))


class Attention(nn.Module):
    """Multi-head self-attention over [N, T, C], with an optional additive bias on the scores."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.project = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        batch, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        y = self.mix(qkv[0], qkv[1], qkv[2], bias)
        return self.project(y.transpose(1, 2).reshape(batch, tokens, channels))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, channels: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp = nn.Sequential(
            nn.Linear(channels, ratio * channels), nn.GELU(), nn.Linear(ratio * channels, channels)
        )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), bias)
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches and a class token (Dosovitskiy et al. 2020)."""

    def __init__(
        self, size: int = 32, patch: int = 8, channels: int = 24, depth: int = 3, heads: int = 3, classes: int = CLASSES
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, channels))
        self.position = nn.Parameter(0.5 * torch.randn(1, (size // patch) ** 2 + 1, channels))
        self.blocks = nn.Sequential(*[Block(channels, heads) for _ in range(depth)])
        self.norm, self.fc = nn.LayerNorm(channels), nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.fc(self.norm(self.blocks(x))[:, 0])


class WindowAttention(Attention):
    """The same, written out, with a bias [windows, heads, T, T] for every window of an image."""

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        assert bias is not None
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        biased = scores.view(-1, *bias.shape) + bias
        return torch.softmax(biased.view(scores.shape), dim=-1) @ value


class SwinBlock(nn.Module):
    """Attention inside windows with a learnt bias per relative position; the windows of every second
    block are shifted by half their size, cyclically, with a mask between what was not adjacent
    (Liu et al. 2021)."""

    relative: Tensor
    mask: Tensor

    def __init__(self, channels: int, heads: int, size: int, window: int, shift: int) -> None:
        super().__init__()
        self.size, self.window, self.shift = size, window, shift
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        axes = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        positions = torch.stack(axes).flatten(1)
        offset = positions[:, :, None] - positions[:, None, :] + window - 1
        self.register_buffer("relative", offset[0] * (2 * window - 1) + offset[1])
        self.register_buffer("mask", self._mask())

    def _mask(self) -> Tensor:
        edges = [slice(0, -self.window), slice(-self.window, -self.shift or None), slice(-self.shift, None)]
        regions = torch.zeros(1, self.size, self.size, 1)
        if self.shift:
            for index, (rows, columns) in enumerate((r, c) for r in edges for c in edges):
                regions[:, rows, columns] = index
        windows = self._partition(regions).squeeze(-1)
        return torch.where(windows[:, None, :] == windows[:, :, None], 0.0, -100.0)

    def _partition(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, height // self.window, self.window, width // self.window, self.window, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.window**2, channels)

    def _merge(self, windows: Tensor, channels: int) -> Tensor:
        across = self.size // self.window
        x = windows.view(-1, across, across, self.window, self.window, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.size, self.size, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, shifts=(-self.shift, -self.shift), dims=(1, 2))
        bias = self.table[self.relative.flatten()].view(self.window**2, self.window**2, -1).permute(2, 0, 1)
        y = self._merge(self.attention(self._partition(y), bias + self.mask.unsqueeze(1)), x.shape[3])
        if self.shift:
            y = torch.roll(y, shifts=(self.shift, self.shift), dims=(1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Four neighbouring tokens become one with twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * channels), nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.blocks = nn.Sequential(
            SwinBlock(12, 2, 8, 4, 0),
            SwinBlock(12, 2, 8, 4, 2),
            PatchMerging(12),
            SwinBlock(24, 3, 4, 2, 0),
            SwinBlock(24, 3, 4, 2, 1),
        )
        self.norm, self.fc = nn.LayerNorm(24), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.patches(x).permute(0, 2, 3, 1))
        return self.fc(self.norm(x).mean((1, 2)))


class TextClassifier(nn.Module):
    """Token ids to classes: embedding, positions, two blocks that ignore padding (id 0), masked mean."""

    def __init__(self, vocabulary: int, channels: int = 16, longest: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, channels)
        self.position = nn.Embedding(longest, channels)
        self.blocks = nn.ModuleList([Block(channels, 2) for _ in range(2)])
        self.norm, self.fc = nn.LayerNorm(channels), nn.Linear(channels, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        kept = ids != 0
        x = self.embedding(ids) + self.position(torch.arange(ids.shape[1]))
        bias = torch.where(kept, 0.0, -1e4).to(x.dtype)[:, None, None, :]
        for block in self.blocks:
            x = block(x, bias)
        weight = kept.to(x.dtype).unsqueeze(-1)
        return self.fc(self.norm((x * weight).sum(1) / weight.sum(1)))


_TOKENS = 20

ARCHITECTURES = [
    Architecture("convnext", ConvNeXt, (3, 32, 32)),
    Architecture("vit", ViT, (3, 32, 32)),
    Architecture("swin", Swin, (3, 32, 32)),
    Architecture(
        "text",
        lambda: TextClassifier(_TOKENS),
        (12,),
        dynamic=((0, "batch"), (1, "tokens")),
        other_shape=(9,),
        vocabulary=_TOKENS,
    ),
]
