"""Options of a conversion: size and precision, and the files' standard names."""

from dataclasses import dataclass
from typing import Literal

from edgesr.common.compat import StrEnum
from edgesr.errors import SizeError
from edgesr.networks.spec import ArchSpec
from edgesr.tflite.sizes import read_size

DEFAULT_HEIGHT = 720
DEFAULT_WIDTH = 480
#: Below this a network sees more padding than image, and converters mistake sizes for channels.
MIN_SIDE = 16
#: Textures of more than 16384 texels a side exist on no mobile GPU.
MAX_SIDE = 16384


class Precision(StrEnum):
    """Type in which the weights are stored; of int8 everything is computed in it, too."""

    FP16 = "fp16"
    FP32 = "fp32"
    INT8 = "int8"


#: dB of PSNR that an integer file may lose against the FP32 network.
MAX_DROP_DB = 0.15

#: Type of an integer file's input and output; uint8 holds grey levels.
Io = Literal["float", "uint8"]


@dataclass(frozen=True)
class ConversionSpec:
    """Size and precisions of the files to make.

    Attributes:
        height: Rows of the fixed input.
        width: Columns of the fixed input.
        precisions: One file is made for each.
        io: Type of the integer file's input and output; the others have float32.
        max_drop_db: dB of PSNR that the integer file may lose.
    """

    height: int = DEFAULT_HEIGHT
    width: int = DEFAULT_WIDTH
    precisions: tuple[Precision, ...] = (Precision.FP16,)
    io: Io = "float"
    max_drop_db: float = MAX_DROP_DB

    def __post_init__(self) -> None:
        """Refuse impossible sizes.

        Raises:
            SizeError: A side is out of bounds.
        """
        check_size(self.height, self.width)


def check_size(height: int, width: int) -> None:
    """Refuse a size that no file can have.

    Raises:
        SizeError: A side is below MIN_SIDE or above MAX_SIDE.
    """
    for name, side in (("height", height), ("width", width)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise SizeError(
                f"got {name} {side}, allowed {MIN_SIDE} to {MAX_SIDE}; "
                f"give --size HxW, e.g. {DEFAULT_HEIGHT}x{DEFAULT_WIDTH}"
            )


def check_multiple(height: int, width: int, arch: ArchSpec) -> None:
    """Refuse a size that a network with a strided head does not accept.

    Raises:
        SizeError: A side is no multiple of what the network requires.
    """
    multiple = arch.size_multiple
    fitting = [side + -side % multiple for side in (height, width)]
    if fitting != [height, width]:
        raise SizeError(
            f"got size {height}x{width} for {arch.name}, allowed multiples of {multiple}; give "
            f"--size {fitting[0]}x{fitting[1]}"
        )


def parse_size(text: str) -> tuple[int, int]:
    """Read "HxW" as height and width.

    Raises:
        SizeError: The text is not of that form, or a side is out of bounds.
    """
    height, width = read_size(text, f"{DEFAULT_HEIGHT}x{DEFAULT_WIDTH}")
    check_size(height, width)
    return height, width


def file_name(model: str, scale: int, spec: ConversionSpec, precision: Precision) -> str:
    """The standard name of a file: `<model>_x<scale>_<H>x<W>_<precision>.tflite`."""
    return f"{model}_x{scale}_{spec.height}x{spec.width}_{precision}.tflite"
