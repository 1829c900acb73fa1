"""Super-resolution networks that are not edgesr's, small and with random weights, as ONNX files.

Written from what the papers say of their structure, in the form that is deployed: branches that
train in parallel are one convolution already. They stand for what users bring: tanh, scaled
residuals, slopes per channel, a copied input, attention with a strided inside.
"""

import io
import warnings
from collections.abc import Callable
from typing import Literal

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Exporter = Literal["old", "new"]


def conv(channels_in: int, channels_out: int, size: int = 3) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2)


class ESPCN(nn.Module):
    """Shi et al. 2016: convolutions with tanh in low resolution, and the shuffle as the last step.

    The paper's network is for one channel; this one takes RGB.
    """

    def __init__(self, scale: int = 2, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, width, 5), nn.Tanh(), conv(width, width // 2), nn.Tanh(),
            conv(width // 2, 3 * scale**2), nn.PixelShuffle(scale),
        )  # fmt: skip

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return self.body(lr_nchw)


class _ResBlock(nn.Module):
    """Two convolutions whose result is scaled down before it is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.body(x)


class EDSR(nn.Module):
    """Lim et al. 2017: residual blocks without batch norm, a mean that is taken off and put back.

    Scale 4 is two shuffles of 2, and a convolution comes after them. The range is [0, 255].
    """

    def __init__(self, scale: int = 4, width: int = 12, blocks: int = 2) -> None:
        super().__init__()
        self.mean = nn.Parameter(255 * torch.tensor([0.45, 0.44, 0.40]).view(1, 3, 1, 1))
        self.head = conv(3, width)
        self.body = nn.Sequential(*(_ResBlock(width) for _ in range(blocks)), conv(width, width))
        steps = [2, 2] if scale == 4 else [scale]
        up = [m for s in steps for m in (conv(width, width * s**2), nn.PixelShuffle(s))]
        self.tail = nn.Sequential(*up, conv(width, 3))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw - self.mean)
        return self.tail(features + self.body(features)) + self.mean


class SESR(nn.Module):
    """Bhardwaj et al. 2022, collapsed: 5x5, 3x3 with PReLU, a long skip, 5x5, and the input added.

    The input is repeated so that each sub-pixel of a channel gets that channel. Scale 4 shuffles
    twice by 2 with nothing between.
    """

    def __init__(self, scale: int = 2, width: int = 8, blocks: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.first, self.first_act = conv(3, width, 5), nn.PReLU(width)
        self.body = nn.Sequential(
            *(m for _ in range(blocks) for m in (conv(width, width), nn.PReLU(width)))
        )
        self.last = conv(width, 3 * scale**2, 5)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        first = self.first_act(self.first(lr_nchw))
        copies = torch.repeat_interleave(lr_nchw, self.scale**2, dim=1)
        hr_nchw = self.last(first + self.body(first)) + copies
        for _ in range(2 if self.scale == 4 else 1):
            hr_nchw = F.pixel_shuffle(hr_nchw, 2 if self.scale == 4 else self.scale)
        return hr_nchw


class ECBSR(nn.Module):
    """Zhang et al. 2021, re-parameterised: plain 3x3 with PReLU; the input's copies are added.

    The copies are made by a concat here, and the shuffle by hand, as code from before PixelShuffle
    had an operator of its own.
    """

    def __init__(self, scale: int = 2, width: int = 8, blocks: int = 3) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [conv(3, width), nn.PReLU(width)]
        for _ in range(blocks):
            layers += [conv(width, width), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, conv(width, 3 * scale**2))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        r = self.scale
        channels = [lr_nchw[:, c : c + 1] for c in range(3)]
        shuffled = self.body(lr_nchw) + torch.cat([c for c in channels for _ in range(r**2)], dim=1)
        n, _, height, width = shuffled.shape
        sub_pixels = shuffled.view(n, 3, r, r, height, width).permute(0, 1, 4, 2, 5, 3)
        return sub_pixels.reshape(n, 3, height * r, width * r)


class _ESA(nn.Module):
    """Enhanced spatial attention: a mask from strided features, brought back to size bilinearly."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.narrow, self.side = conv(width, inner, 1), conv(inner, inner, 1)
        self.strided = nn.Conv2d(inner, inner, 3, stride=2)
        self.deep, self.widen = conv(inner, inner), conv(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.narrow(x)
        pooled = F.max_pool2d(self.strided(narrow), kernel_size=7, stride=3)
        mask = F.interpolate(self.deep(pooled), x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.widen(mask + self.side(narrow)))


class _RLFB(nn.Module):
    """Three convolutions with LeakyReLU, the block's input added, 1x1, attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = (m for _ in range(3) for m in (conv(width, width), nn.LeakyReLU(0.05)))
        self.body = nn.Sequential(*layers)
        self.join, self.attention = conv(width, width, 1), _ESA(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.join(x + self.body(x)))


class RLFN(nn.Module):
    """Kong et al. 2022: residual local feature blocks with spatial attention."""

    def __init__(self, scale: int = 2, width: int = 12, blocks: int = 2) -> None:
        super().__init__()
        self.head = conv(3, width)
        self.body = nn.Sequential(*(_RLFB(width) for _ in range(blocks)), conv(width, width))
        self.tail = nn.Sequential(conv(width, 3 * scale**2), nn.PixelShuffle(scale))

    def forward(self, lr_nchw: Tensor) -> Tensor:
        features = self.head(lr_nchw)
        return self.tail(features + self.body(features))


#: Name -> network, its scale and its value range.
NETS: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
    "espcn": (ESPCN, 2, 1.0),
    "espcn x3": (lambda: ESPCN(3), 3, 1.0),
    "edsr x4": (EDSR, 4, 255.0),
    "sesr": (SESR, 2, 1.0),
    "sesr x4": (lambda: SESR(4), 4, 1.0),
    "ecbsr": (ECBSR, 2, 1.0),
    "rlfn": (RLFN, 2, 1.0),
}


def built(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network with random weights; slopes of PReLU differ, some above 1 and some below 0."""
    torch.manual_seed(seed)
    net = make().eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.PReLU):
                part.weight.copy_(torch.linspace(-0.3, 1.4, part.num_parameters))
    return net


def exported(
    net: nn.Module,
    exporter: Exporter = "old",
    *,
    height: int = 24,
    width: int = 40,
    dynamic: bool = True,
    opset: int | None = None,
    channels: int = 3,
) -> onnx.ModelProto:
    """The network as its author would export it, with torch's names and options left alone."""
    lr_nchw = torch.rand(1, channels, height, width)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "old":
            axes = {"x": {0: "n", 2: "h", 3: "w"}} if dynamic else None
            torch.onnx.export(
                net, (lr_nchw,), file, dynamo=False, opset_version=opset or 17,
                input_names=["x"], dynamic_axes=axes,
            )  # fmt: skip
            return onnx.load_model_from_string(file.getvalue())
        sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
        program = torch.onnx.export(
            net, (lr_nchw,), dynamo=True, opset_version=opset, verbose=False,
            dynamic_shapes=(sizes,) if dynamic else None,
        )  # fmt: skip
        assert program is not None
        return program.model_proto
