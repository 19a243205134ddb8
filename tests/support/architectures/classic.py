"""Plain and branching convolutional networks: VGG, AlexNet, Inception, SqueezeNet, DenseNet, 1-D CNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import CLASSES, Adjusted, Architecture, PooledHead, conv_norm


class VGG(nn.Module):
    """3x3 convolutions with bias, max pools, adaptive pool, a classifier of three layers (Simonyan 2014)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (8, 12, 16):
            for _ in range(2):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Linear(4 * channels, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class ResponseNorm(nn.Module):
    """Local response normalisation over five neighbouring channels, by a mean over depth in three dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        mean = F.avg_pool3d(x.square().unsqueeze(1), (5, 1, 1), stride=1, padding=(2, 0, 0))[:, 0]
        return x / (2.0 + 0.1 * mean) ** 0.75


class AlexNet(nn.Module):
    """Large strided kernels, local response normalisation, groups, overlapping pools (Krizhevsky 2012)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 11, stride=4, padding=2)
        self.conv2 = nn.Conv2d(8, 16, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = ResponseNorm()
        self.pool = nn.MaxPool2d(3, 2)
        self.fc1 = nn.Linear(16 * 3 * 3, 32)
        self.fc2 = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm(torch.relu(self.conv1(x))))
        x = self.pool(self.norm(torch.relu(self.conv2(x))))
        x = torch.relu(self.conv3(x))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class InceptionBlock(nn.Module):
    """Branches 1x1, 3x3, 7x1 after 1x7, and average pool, concatenated (Szegedy et al. 2015)."""

    def __init__(self, inputs: int, count_include_pad: bool) -> None:
        super().__init__()
        self.one = conv_norm(inputs, 6, 1)
        self.three = nn.Sequential(conv_norm(inputs, 4, 1), conv_norm(4, 6, 3))
        self.seven = nn.Sequential(conv_norm(inputs, 4, 1), conv_norm(4, 5, (1, 7)), conv_norm(5, 6, (7, 1)))
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=count_include_pad)
        self.project = conv_norm(inputs, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.seven(x), self.project(self.pool(x))], 1)


class Reduction(nn.Module):
    """Half the size without padding: strided convolution beside a max pool."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = conv_norm(inputs, 8, 3, stride=2, padding=0)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.conv(x), self.pool(x)], 1)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 8, 3, stride=2, padding=0), conv_norm(8, 12, 3))
        self.blocks = nn.Sequential(
            InceptionBlock(12, True), Reduction(24), InceptionBlock(32, False), Reduction(24), InceptionBlock(32, True)
        )
        self.head = PooledHead(24)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


class Fire(nn.Module):
    """Squeeze by 1x1, expand by 1x1 and 3x3 side by side (Iandola et al. 2016)."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.one = nn.Conv2d(squeeze, expand, 1)
        self.three = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.one(x)), torch.relu(self.three(x))], 1)


class SqueezeNet(Adjusted):
    """Fire modules between max pools with ceil_mode; the classifier is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 12, 7, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(12, 4, 8),
            Fire(16, 4, 8),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(16, 6, 12),
            nn.AvgPool2d(3, 2, ceil_mode=True),
        )
        self.classify = nn.Conv2d(24, CLASSES, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def adjust(self) -> None:
        nn.init.constant_(self.classify.bias, 0.5)  # a class whose score the last ReLU cuts off has no gradient

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.pool(torch.relu(self.classify(self.features(x)))), 1)


class DenseLayer(nn.Module):
    """BatchNorm and ReLU before each convolution; the output joins all earlier ones (Huang et al. 2016)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(2 * growth)
        self.conv1 = nn.Conv2d(inputs, 2 * growth, 1, bias=False)
        self.conv2 = nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, 8, 7, stride=2), nn.MaxPool2d(3, 2, 1)]
        channels, growth = 8, 6
        for block in range(3):
            for _ in range(3):
                layers.append(DenseLayer(channels, growth))
                channels += growth
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            if block < 2:
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2, 2)]
                channels //= 2
        self.features = nn.Sequential(*layers)
        self.head = PooledHead(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class CNN1D(nn.Module):
    """Dilated convolutions over a signal of two channels, pools of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, 8, 9, stride=2, padding=4),
            nn.BatchNorm1d(8),
            nn.LeakyReLU(0.1),
            nn.MaxPool1d(2),
            nn.Conv1d(8, 12, 5, padding=4, dilation=2),
            nn.BatchNorm1d(12),
            nn.ELU(),
            nn.AvgPool1d(3, 2, 1),
            nn.Conv1d(12, 16, 3, padding=1, groups=2),
            nn.PReLU(16),
            nn.AdaptiveMaxPool1d(1),
        )
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).squeeze(-1))


ARCHITECTURES = [
    Architecture("vgg", VGG, (3, 32, 32)),
    Architecture("alexnet", AlexNet, (3, 64, 64), nn.Softmax(1)),
    Architecture("inception", Inception, (3, 49, 49)),
    Architecture("squeezenet", SqueezeNet, (3, 56, 56)),
    Architecture("densenet", DenseNet, (3, 64, 64)),
    Architecture("cnn1d", CNN1D, (2, 128), nn.LogSoftmax(-1)),
]
