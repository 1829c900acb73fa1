"""The kinds of networks by name.

Architectures of the field, small and with random weights, written from what the papers say of their
structure, in the form that is deployed. They stand for what users bring; none is the published
network, whose widths and depths are larger.
"""

from collections.abc import Callable
from dataclasses import dataclass

import onnx
from torch import nn

from helpers import third_party_nets as first
from helpers.network_kinds import attention, distillation, global_mixing, plain


@dataclass(frozen=True)
class Kind:
    """A kind of network.

    Attributes:
        make: Builds the network.
        scale: Its upscaling factor.
        value_range: Its images are in [0, value_range].
        channels: Channels of its images.
        exporter: The one of torch's exporters that can write it; mostly both can.
    """

    make: Callable[[], nn.Module]
    scale: int = 2
    value_range: float = 1.0
    channels: int = 3
    exporter: first.Exporter = "old"


def onnx_of(kind: Kind, height: int, width: int) -> onnx.ModelProto:
    """The network with random weights, exported at one size."""
    return first.exported(
        first.built(kind.make), kind.exporter, height=height, width=width, dynamic=False,
        channels=kind.channels,
    )  # fmt: skip


KINDS = {
    "srcnn": Kind(lambda: plain.PreUpscaled(skip=False)),
    "vdsr": Kind(lambda: plain.PreUpscaled(skip=True)),
    "espcn": Kind(first.ESPCN),
    "espcn x3": Kind(lambda: first.ESPCN(3), 3),
    "fsrcnn": Kind(plain.FSRCNN),
    "edsr x4": Kind(first.EDSR, 4, 255.0),
    "srresnet": Kind(plain.SRResNet),
    "swiftsrgan": Kind(plain.SwiftSRGAN),
    "lapsrn x4": Kind(plain.LapSRN, 4),
    "dbpn": Kind(plain.DBPN),
    "rdn": Kind(plain.RDN),
    "esrgan x4": Kind(plain.RRDB, 4),
    "esrgan x2": Kind(lambda: plain.RRDB(2), 2),
    "carn-m": Kind(plain.CARN),
    "msrn": Kind(plain.MSRN),
    "feqe": Kind(plain.FEQE),
    "xlsr x3": Kind(plain.XLSR, 3),
    "abpn x3": Kind(plain.ABPN, 3, 255.0),
    "sesr": Kind(first.SESR),
    "sesr x4": Kind(lambda: first.SESR(4), 4),
    "ecbsr": Kind(first.ECBSR),
    "quicksrnet": Kind(plain.QuickSRNet),
    "etds": Kind(plain.ETDS),
    "bicubic++ x3": Kind(plain.BicubicPlusPlus, 3),
    "compact x4": Kind(plain.UpscaledSkip, 4),
    "bilinear skip": Kind(lambda: plain.UpscaledSkip("bilinear", 2), 2),
    "bicubic skip": Kind(lambda: plain.UpscaledSkip("bicubic", 2), 2),
    "bicubic skip x4": Kind(lambda: plain.UpscaledSkip("bicubic"), 4),
    "real-cugan": Kind(plain.CUGAN),
    "imdn": Kind(distillation.IMDN),
    "imdn-rtc": Kind(lambda: distillation.IMDN(attention=False)),
    "rfdn": Kind(distillation.RFDN),
    "bsrn": Kind(lambda: distillation.RFDN(blueprint=True)),
    "efdn": Kind(distillation.efdn),
    "fmen": Kind(distillation.fmen),
    "rlfn x4": Kind(distillation.rlfn, 4),
    "reprfn x4": Kind(distillation.reprfn, 4),
    "plainusr": Kind(distillation.plainusr),
    "partial convolutions": Kind(distillation.partial),
    "span x4": Kind(attention.SPAN, 4),
    "span-28 x4": Kind(lambda: attention.SPAN(6, 28), 4),
    "r2net x4": Kind(attention.R2Net, 4),
    "safmn": Kind(attention.safmn),
    "smfan": Kind(attention.smfan),
    "vapsr": Kind(attention.vapsr),
    "shufflemixer": Kind(attention.shufflemixer),
    "man": Kind(attention.man),
    "cfsr": Kind(attention.cfsr),
    "pan": Kind(attention.PAN),
    "a2f": Kind(attention.A2F),
    "rcan": Kind(attention.rcan),
    "mobilenetv3 blocks": Kind(attention.mobile),
    "nafnet": Kind(attention.nafnet),
    "rt4ksr": Kind(attention.RT4KSR),
    "restormer": Kind(global_mixing.restormer),
    "swin": Kind(global_mixing.swin),
    "han": Kind(global_mixing.HAN),
    "dysample": Kind(global_mixing.DySample),
    "asconvsr": Kind(global_mixing.AsConv),
    "fourier": Kind(global_mixing.fourier, exporter="new"),
    "luma alone": Kind(global_mixing.YOnly, channels=1),
}
