"""The reference's networks in PyTorch, as its code writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def use_card() -> str:
    """Let PyTorch make everything on the GPU if it sees one; returns the kind of device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    return device


def normalized(images: np.ndarray) -> Tensor:
    """uint8 [B, S, S, 3] to normalised float32 [B, 3, S, S], as a data loader hands it over."""
    pixels = (images.astype(np.float32) / 255.0 - np.array(MEAN, np.float32)) / np.array(
        STD, np.float32
    )
    found = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return found.to(torch.get_default_device())


class BasicBlock(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != filters:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-18 for 32-pixel images: 3x3 stem, stages of two blocks, mean of the last map."""

    def __init__(self, width: int = 64, repeats: Sequence[int] = (2, 2, 2, 2)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        stages, channels = [], width
        for stage, count in enumerate(repeats):
            filters = width * 2**stage
            blocks = []
            for block in range(count):
                stride = 2 if stage and not block else 1
                blocks.append(BasicBlock(channels, filters, stride))
                channels = filters
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.dim = channels

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.relu(self.bn1(self.conv1(x))))
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)


def load_keras(network: ResNet, weights: Mapping[str, Sequence[np.ndarray]]) -> ResNet:
    """Take over the weights of `spice_keras/backbones/resnet.py`, by names of layers."""
    _load(network.conv1, network.bn1, weights, "stem")
    for stage, blocks in enumerate(network.stages, start=1):
        for number, block in enumerate(blocks, start=1):
            name = f"stage{stage}_block{number}"
            _load(block.conv1, block.bn1, weights, f"{name}_1")
            _load(block.conv2, block.bn2, weights, f"{name}_2")
            if isinstance(block.shortcut, nn.Sequential):
                _load(block.shortcut[0], block.shortcut[1], weights, f"{name}_shortcut")
    return network


def _load(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, weights: Mapping[str, Sequence[np.ndarray]], name: str
) -> None:
    kernel = np.ascontiguousarray(weights[f"{name}_conv"][0].transpose(3, 2, 0, 1))
    tensors = [torch.from_numpy(value.copy()) for value in weights[f"{name}_bn"]]
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(kernel))
        for old, new in zip(
            (norm.weight, norm.bias, norm.running_mean, norm.running_var), tensors, strict=True
        ):
            old.copy_(new)


class WideBlock(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels, momentum=0.001)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters, momentum=0.001)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.relu = nn.LeakyReLU(0.1, inplace=True)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != filters:
            self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        y = self.conv2(self.relu(self.bn2(self.conv1(activated))))
        return y + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Module):
    """WRN-28-2 with a linear classifier, as TorchSSL's FixMatch has it."""

    def __init__(self, num_classes: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
        channels = 16
        for group in range(3):
            filters = width * 2**group
            for block in range(4):
                layers.append(WideBlock(channels, filters, 2 if group and not block else 1))
                channels = filters
        layers += [nn.BatchNorm2d(channels, momentum=0.001), nn.LeakyReLU(0.1, inplace=True)]
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(functional.adaptive_avg_pool2d(self.body(x), 1).flatten(1))
