"""`convert` with int8: a file that passes its gates, and one that is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import edgesr
from converters.parity.verify_file import describe
from edgesr.cli.convert import command
from edgesr.errors import ModelFileError, ParityError
from edgesr.runtime.session import Backend, open_model

_SIZE = (48, 64)


class _Nearest(nn.Sequential):
    """Nearest-neighbour upscaling with a little detail, as trained networks keep the image."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
        torch.manual_seed(0)
        with torch.no_grad():
            kernel = 0.01 * torch.randn(12, 3, 3, 3)
            for out in range(12):
                kernel[out, out // 4, 1, 1] += 1.0 - kernel[out].sum()
            self[0].weight.copy_(kernel)
            self[0].bias.zero_()


@pytest.mark.slow
def test_a_file_of_grey_levels_passes_its_gates_and_says_so(tmp_path: Path) -> None:
    (file,) = edgesr.convert(
        _Nearest(), size=_SIZE, precision="int8", io="uint8", max_drop=0.5, output=tmp_path
    )
    facts = file.manifest.facts
    assert file.path.name.endswith("_48x64_int8.tflite")
    assert (facts.precision, facts.dtype) == ("int8", "uint8")
    assert {"equalise", "compensated_rounding"} <= set(facts.passes)
    (cpu,) = file.manifest.parity
    assert cpu.gate.startswith("PSNR drop <= 0.5 dB")
    assert not cpu.failures
    assert describe(file.path).precision == "int8"
    grey = np.full((1, *_SIZE, 3), 0.5, np.float32)
    assert np.isfinite(open_model(file.path).run(grey)).all()
    with pytest.raises(ModelFileError, match="uint8 at its input and output"):
        open_model(file.path, Backend.CPU_FP16)


@pytest.mark.slow
def test_a_file_that_loses_more_than_allowed_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"lose .* dB, allowed 0 \(--max-drop\)"):
        edgesr.convert("rtc", size=_SIZE, precision="int8", max_drop=0.0, output=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [["--io", "uint8"], ["--max-drop", "0.3"]])
def test_options_of_integers_without_integers_are_refused(option: list[str]) -> None:
    result = CliRunner().invoke(command, ["--model", "rtc", *option])
    assert result.exit_code == 2
    assert "belong to --int8" in result.output
