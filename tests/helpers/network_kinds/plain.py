"""Networks of convolutions and activations, without attention."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.network_kinds.blocks import Residual, channel_shuffle, conv, depthwise, upsampler


class FSRCNN(nn.Sequential):
    """Dong et al. 2016: shrink, map, expand, and a transposed convolution of 9x9."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__(
            conv(3, 16, 5), nn.PReLU(16), conv(16, 6, 1), nn.PReLU(6),
            conv(6, 6), nn.PReLU(6), conv(6, 6), nn.PReLU(6), conv(6, 16, 1), nn.PReLU(16),
            nn.ConvTranspose2d(16, 3, 9, stride=scale, padding=4, output_padding=scale - 1),
        )  # fmt: skip


class PreUpscaled(nn.Module):
    """SRCNN (Dong et al. 2014) and VDSR (Kim et al. 2016): a network on the upscaled image."""

    def __init__(self, mode: Literal["bicubic", "bilinear"] = "bicubic", *, skip: bool) -> None:
        super().__init__()
        self.mode, self.skip = mode, skip
        self.body = nn.Sequential(
            conv(3, 12, 9), nn.ReLU(), conv(12, 8, 1), nn.ReLU(), conv(8, 3, 5)
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        large = F.interpolate(lr_nchw, scale_factor=2, mode=self.mode, align_corners=False)
        return large + self.body(large) if self.skip else self.body(large)


class UpscaledSkip(nn.Module):
    """Convolutions with PReLU, and the upscaled input added: SRVGGNet ("Compact") by nearest."""

    def __init__(self, mode: str = "nearest", scale: int = 4) -> None:
        super().__init__()
        self.mode, self.scale = mode, scale
        self.body = nn.Sequential(
            conv(3, 16), nn.PReLU(16), conv(16, 16), nn.PReLU(16), conv(16, 16), nn.PReLU(16),
            upsampler(16, scale),
        )  # fmt: skip

    def forward(self, lr_nchw: Tensor) -> Tensor:
        corners = None if self.mode == "nearest" else False
        large = F.interpolate(
            lr_nchw, scale_factor=self.scale, mode=self.mode, align_corners=corners
        )
        return self.body(lr_nchw) + large


class XLSR(nn.Module):
    """Ayazoglu 2021: grouped convolutions and shuffled channels in four branches, clipped ReLU."""

    def __init__(self, scale: int = 3) -> None:
        super().__init__()
        self.side = conv(3, 8)
        self.branches = nn.ModuleList(conv(3, 4) for _ in range(4))
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(16, 16, groups=4), nn.ReLU(), conv(16, 16, 1)) for _ in range(3)
        )
        self.last = nn.Sequential(conv(24, 16, 1), nn.ReLU(), upsampler(16, scale))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        x = torch.cat([branch(lr_nchw) for branch in self.branches], 1)
        for block in self.blocks:
            x = channel_shuffle(x, 4) + block(x)
        return torch.clamp(self.last(torch.cat([x, self.side(lr_nchw)], 1)), 0, 1)


class QuickSRNet(nn.Module):
    """Berger et al. 2023: convolutions with activations that end at 0 and 1."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16), nn.Hardtanh(0, 1), conv(16, 16), nn.Hardtanh(0, 1), conv(16, 3 * scale**2)
        )
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return torch.clamp(self.shuffle(self.body(lr_nchw)), 0, 1)


class ABPN(nn.Module):
    """Du et al. 2021: plain convolutions, the input's copies added; the range is [0, 255]."""

    def __init__(self, scale: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(
            conv(3, 12), nn.ReLU(), conv(12, 12), nn.ReLU(),
            conv(12, 3 * scale**2), nn.ReLU(), conv(3 * scale**2, 3 * scale**2),
        )  # fmt: skip

    def forward(self, lr_nchw: Tensor) -> Tensor:
        copies = torch.cat([lr_nchw] * self.scale**2, 1)
        shuffled = F.pixel_shuffle(self.body(lr_nchw) + copies, self.scale)
        return torch.clamp(shuffled, 0.0, 255.0)


class SRResNet(nn.Module):
    """Ledig et al. 2017: batch norm, PReLU with one slope, 9x9, and tanh at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(conv(3, 12, 9), nn.PReLU())
        block = [conv(12, 12), nn.BatchNorm2d(12), nn.PReLU(), conv(12, 12), nn.BatchNorm2d(12)]
        self.body = nn.Sequential(Residual(*block), conv(12, 12), nn.BatchNorm2d(12))
        self.tail = nn.Sequential(conv(12, 48), nn.PixelShuffle(2), nn.PReLU(), conv(12, 3, 9))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw)
        return (torch.tanh(self.tail(features + self.body(features))) + 1) / 2


class SwiftSRGAN(nn.Module):
    """Krishnan and Krishnan 2021: SRResNet of depthwise separable convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(conv(3, 3, 9, groups=3), conv(3, 16, 1), nn.PReLU(16))
        pair = [depthwise(16), conv(16, 16, 1), nn.BatchNorm2d(16)]
        again = [depthwise(16), conv(16, 16, 1), nn.BatchNorm2d(16)]
        self.body = Residual(*pair, nn.PReLU(16), *again)
        self.up = nn.Sequential(depthwise(16), conv(16, 64, 1), nn.PixelShuffle(2), nn.PReLU(16))
        self.last = nn.Sequential(depthwise(16, 9), conv(16, 3, 1))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw)
        return (torch.tanh(self.last(self.up(features + self.body(features)))) + 1) / 2


class _Dense(nn.Module):
    """Convolutions that each read all earlier results."""

    def __init__(self, width: int, growth: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.layers = nn.ModuleList(conv(width + i * growth, growth) for i in range(3))
        self.join = conv(width + 3 * growth, width)

    def forward(self, x: Tensor) -> Tensor:
        results = [x]
        for layer in self.layers:
            results.append(F.leaky_relu(layer(torch.cat(results, 1)), 0.2))
        return x + self.factor * self.join(torch.cat(results, 1))


class RRDB(nn.Module):
    """ESRGAN (Wang et al. 2018); x2 packs 2x2 pixels first, as Real-ESRGAN does."""

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.packed = {4: 1, 2: 2}[scale]
        self.head = conv(3 * self.packed**2, 12)
        self.body = nn.Sequential(
            Residual(_Dense(12, 6, 0.2), _Dense(12, 6, 0.2), factor=0.2), conv(12, 12)
        )
        self.ups = nn.ModuleList(conv(12, 12) for _ in range(2))
        self.tail = nn.Sequential(conv(12, 12), nn.LeakyReLU(0.2), conv(12, 3))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        if self.packed > 1:
            lr_nchw = F.pixel_unshuffle(lr_nchw, self.packed)
        x = self.head(lr_nchw)
        x = x + self.body(x)
        for up in self.ups:
            x = F.leaky_relu(up(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        return self.tail(x)


class RDN(nn.Module):
    """Zhang et al. 2018: residual dense blocks, whose results are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.again = conv(3, 12), conv(12, 12)
        self.blocks = nn.ModuleList(_Dense(12, 6, 1.0) for _ in range(2))
        self.join = nn.Sequential(conv(24, 12, 1), conv(12, 12))
        self.tail = upsampler(12, 2)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(lr_nchw)
        x, results = self.again(first), list[Tensor]()
        for block in self.blocks:
            x = block(x)
            results.append(x)
        return self.tail(first + self.join(torch.cat(results, 1)))


class CARN(nn.Module):
    """Ahn et al. 2018: cascades of grouped residual blocks, joined by 1x1; CARN-M."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 16)
        self.blocks = nn.ModuleList(
            Residual(conv(16, 16, groups=4), nn.ReLU(), conv(16, 16, groups=4), nn.ReLU(),
                     conv(16, 16, 1)) for _ in range(2)
        )  # fmt: skip
        self.joins = nn.ModuleList(conv(16 * (i + 2), 16, 1) for i in range(2))
        self.up = nn.Sequential(conv(16, 64, groups=4), nn.ReLU(), nn.PixelShuffle(2))
        self.last = conv(16, 3)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        x = self.head(lr_nchw)
        joined = x
        for block, join in zip(self.blocks, self.joins, strict=True):
            joined = torch.cat([joined, block(F.relu(x))], 1)
            x = F.relu(join(joined))
        return self.last(self.up(x))


class MSRN(nn.Module):
    """Li et al. 2018: 3x3 and 5x5 beside each other, crossed, and all results joined."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 8)
        self.small, self.large = conv(8, 8), conv(8, 8, 5)
        self.small_2, self.large_2 = conv(16, 16), conv(16, 16, 5)
        self.confuse, self.join = conv(32, 8, 1), conv(16, 8, 1)
        self.tail = nn.Sequential(conv(8, 32), nn.PixelShuffle(2), conv(8, 3))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(lr_nchw)
        both = torch.cat([F.relu(self.small(first)), F.relu(self.large(first))], 1)
        crossed = torch.cat([F.relu(self.small_2(both)), F.relu(self.large_2(both))], 1)
        return self.tail(self.join(torch.cat([first, first + self.confuse(crossed)], 1)))


class LapSRN(nn.Module):
    """Lai et al. 2017: two steps of x2 by transposed convolutions, image and features apart."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(conv(3, 8), nn.LeakyReLU(0.2))
        self.bodies = nn.ModuleList(
            nn.Sequential(conv(8, 8), nn.LeakyReLU(0.2),
                          nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1), nn.LeakyReLU(0.2))
            for _ in range(2)
        )  # fmt: skip
        self.residuals = nn.ModuleList(conv(8, 3) for _ in range(2))
        self.images = nn.ModuleList(
            nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1) for _ in range(2)
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        image, x = lr_nchw, self.head(lr_nchw)
        for body, residual, up in zip(self.bodies, self.residuals, self.images, strict=True):
            x = body(x)
            image = up(image) + residual(x)
        return image


class DBPN(nn.Module):
    """Haris et al. 2018: up, down and up again, each correcting the last."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(conv(3, 8), nn.PReLU())
        self.ups = nn.ModuleList(nn.ConvTranspose2d(8, 8, 6, stride=2, padding=2) for _ in range(2))
        self.down = nn.Sequential(nn.Conv2d(8, 8, 6, stride=2, padding=2), nn.PReLU())
        self.last = conv(8, 3)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        x = self.head(lr_nchw)
        large = F.relu(self.ups[0](x))
        return self.last(large + F.relu(self.ups[1](self.down(large) - x)))


class FEQE(nn.Module):
    """Vu et al. 2018: the image packed, blocks on few pixels, mean of the range taken off."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.PixelUnshuffle(2), conv(12, 16))
        self.body = nn.Sequential(*(Residual(conv(16, 16), nn.ReLU(), conv(16, 16)) for _ in "12"))
        self.tail = nn.Sequential(conv(16, 48), nn.PixelShuffle(4))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw - 0.5)
        large = F.interpolate(lr_nchw, scale_factor=2, mode="bilinear", align_corners=False)
        return self.tail(features + self.body(features)) + large


class BicubicPlusPlus(nn.Sequential):
    """Bilecen and Ayazoglu 2023: half the pixels, replicated borders, one large shuffle."""

    def __init__(self, scale: int = 3) -> None:
        super().__init__(
            nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.LeakyReLU(0.1),
            nn.Conv2d(16, 16, 3, padding=1, padding_mode="replicate"), nn.LeakyReLU(0.1),
            conv(16, 3 * (2 * scale) ** 2), nn.PixelShuffle(2 * scale),
        )  # fmt: skip


class ETDS(nn.Module):
    """Chao et al. 2023: features and image in one tensor, cut and joined at every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 15)
        self.backbone = nn.ModuleList(conv(15, 12) for _ in range(2))
        self.image = nn.ModuleList(conv(15, 3) for _ in range(2))
        self.tail = upsampler(15, 2)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        x = F.relu(self.head(lr_nchw))
        for backbone, image in zip(self.backbone, self.image, strict=True):
            x = torch.cat([F.relu(backbone(x)), image(x) + x[:, 12:]], 1)
        return self.tail(x)


class CUGAN(nn.Module):
    """Real-CUGAN: a U-net without padding, squeeze and excitation, cropped skips."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.1))
        self.down = nn.Sequential(nn.Conv2d(8, 8, 2, stride=2), nn.LeakyReLU(0.1))
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3), nn.LeakyReLU(0.1))
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), conv(8, 4, 1), nn.ReLU(), conv(4, 8, 1), nn.Sigmoid()
        )
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 8, 2, stride=2), nn.LeakyReLU(0.1))
        self.tail = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=3)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.head(F.pad(lr_nchw, (4, 4, 4, 4), mode="reflect"))
        deep = self.deep(self.down(first))
        up = self.up(deep * self.squeeze(deep))
        return self.tail(F.pad(first, (-2, -2, -2, -2)) + up)
