"""The ResNets for CIFAR of He et al. (2016, section 4.2), which timm does not have: common teachers for small images.

Parameters have the names of the widely used releases, so that their files fit.
"""

# axes: b batch, c channels, h w pixels, k classes

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.pixels.preprocess import Preprocessing

DEPTHS = {"cifar_resnet20": 3, "cifar_resnet32": 5, "cifar_resnet44": 7, "cifar_resnet56": 9, "cifar_resnet110": 18}
"""Name → blocks in each of the three stages. 0.27, 0.46, 0.66, 0.85 and 1.7 M parameters."""
PREPROCESSING = Preprocessing(img_size=(32, 32), crop_ratio=1.0)


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters (option A): every other pixel, zeros for new channels."""

    def __init__(self, chans: int, dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(chans, dim, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)
        self.stride, self.added = stride, dim - chans

    def forward(self, x: Tensor) -> Tensor:  # b c h w → b c′ h′ w′
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """A 3 × 3 stem, three stages of 16, 32 and 64 channels, and a linear map of their mean."""

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, 1, depth)
        self.layer2 = _stage(16, 32, 2, depth)
        self.layer3 = _stage(32, 64, 2, depth)
        self.linear = nn.Linear(64, classes)

    def forward(self, image: Tensor) -> Tensor:  # b 3 h w → b k
        x = F.relu(self.bn1(self.conv1(image)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.mean(x, dim=(2, 3)))


def _stage(chans: int, dim: int, stride: int, depth: int) -> nn.Sequential:
    return nn.Sequential(Block(chans, dim, stride), *(Block(dim, dim, 1) for _ in range(depth - 1)))
