"""Networks with a class score at every position: U-Net in two variants, a pyramid detector."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import CLASSES, Architecture, conv_norm


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv_norm(inputs, outputs, 3), conv_norm(outputs, outputs, 3))


class UNet(nn.Module):
    """An encoder, and a decoder that concatenates the encoder's maps (Ronneberger et al. 2015).

    Goes up by transposed convolutions, or by bilinear interpolation to the size of the encoder's map
    (which need not be twice the coarser one's).
    """

    def __init__(self, bilinear: bool, align_corners: bool = False) -> None:
        super().__init__()
        self.bilinear, self.align_corners = bilinear, align_corners
        self.down = nn.ModuleList([_double(3, 8), _double(8, 16), _double(16, 24)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(24, 16, 2, 2), nn.ConvTranspose2d(16, 8, 3, 2, 1, 1)])
        if bilinear:
            self.up = nn.ModuleList([nn.Conv2d(24, 16, 1), nn.Conv2d(16, 8, 1)])
        self.decode = nn.ModuleList([_double(32, 16), _double(16, 8)])
        self.classify = nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for index, block in enumerate(self.down):
            x = block(x if index == 0 else F.max_pool2d(x, 2))
            maps.append(x)
        for up, decode, skip in zip(self.up, self.decode, maps[-2::-1]):
            x = up(x)
            if self.bilinear:
                x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=self.align_corners)
            x = decode(torch.cat([skip, x], 1))
        return self.classify(x)


class PyramidDetector(nn.Module):
    """Class scores of all anchors of a feature pyramid, [N, anchors, classes].

    Coarse maps are enlarged by nearest neighbour and added to finer ones (Lin et al. 2016).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [conv_norm(3, 8, 5, stride=4), conv_norm(8, 12, 3, stride=2), conv_norm(12, 16, 3, stride=2)]
        )
        self.lateral = nn.ModuleList([nn.Conv2d(channels, 8, 1) for channels in (8, 12, 16)])
        self.tower = conv_norm(8, 8, 3, nn.SiLU)
        self.classify = nn.Conv2d(8, 2 * CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for stage, lateral in zip(self.stages, self.lateral):
            x = stage(x)
            maps.append(lateral(x))
        for index in (1, 0):
            maps[index] = maps[index] + F.interpolate(maps[index + 1], scale_factor=2.0, mode="nearest")
        scores = []
        for level in maps:
            score = self.classify(self.tower(level)).permute(0, 2, 3, 1)
            scores.append(score.reshape(score.shape[0], -1, CLASSES))
        return torch.cat(scores, 1)


_OPEN = ((0, "batch"), (2, "height"), (3, "width"))

ARCHITECTURES = [
    Architecture("unet_transposed", partial(UNet, False), (3, 32, 32)),
    Architecture("unet_bilinear", partial(UNet, True, True), (3, 33, 38)),
    Architecture("unet_bilinear_any_size", partial(UNet, True), (3, 37, 34), dynamic=_OPEN, other_shape=(3, 40, 29)),
    Architecture("pyramid_detector", PyramidDetector, (3, 64, 64), nn.Sigmoid(), class_axis=2),
]
