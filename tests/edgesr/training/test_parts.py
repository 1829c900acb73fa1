"""The parts of a training on their own: losses, averages, shares, logs, checkpoints."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from edgesr.errors import OutputError
from edgesr.evaluation.benchmark_sets import by_bicubic, by_network, mean_psnr
from edgesr.images.datasets import Pair
from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_y
from edgesr.training import state as checkpoint
from edgesr.training.distributed import Processes, ProcessGroupError
from edgesr.training.log import Log, Row, draw_curve, read_rows
from edgesr.training.losses import loss_function, with_ssim
from edgesr.training.optimisers import Ema
from edgesr.training.recipe import LossName
from edgesr.training.state import ResumeError, new_state
from helpers.networks import random_image
from helpers.training import short_recipe

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 20.0),
        ("l2", 500.0),
        ("charbonnier", (math.hypot(10, 0.1) + math.hypot(30, 0.1)) / 2),
        ("huber", (10 / 2 + 30 - 5) / 2),
    ],
)
@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_a_loss_is_the_mean_of_its_formula(
    name: LossName, expected: float, value_range: float
) -> None:
    """Differences of -10 and 30 grey levels, in the network's own range."""
    level = value_range / 255
    hr_nchw = torch.full((1, 1, 1, 2), 0.3 * value_range, dtype=torch.float64)
    upscaled_nchw = hr_nchw + level * torch.tensor([-10.0, 30.0], dtype=torch.float64)
    power = 2 if name == "l2" else 1
    loss = float(loss_function(name, value_range)(upscaled_nchw, hr_nchw)) / level**power
    assert loss == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        ((10.0, 10.0, 10.0), 100 + 0.1 * 100),
        ((0.587, -0.299, 0.0), 0.1 * (0.587**2 + 0.299**2) / 3),
        ((0.0, 0.0, 30.0), (0.114 * 30) ** 2 + 0.1 * 300),
    ],
    ids=["grey", "a colour of no luma", "blue"],
)
def test_the_luma_loss_weighs_what_the_eye_and_psnr_on_y_weigh(
    difference: tuple[float, float, float], expected: float
) -> None:
    hr_nchw = torch.full((2, 3, 4, 5), 100.0, dtype=torch.float64)
    shift = torch.tensor(difference, dtype=torch.float64)[:, None, None]
    assert float(loss_function("l2-luma", 255.0)(hr_nchw + shift, hr_nchw)) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_the_psnr_loss_weighs_each_patch_in_decibels(value_range: float) -> None:
    """Grey patches, 2 and 20 levels off: the luma's square, a tenth of the colours', the floor."""
    level = value_range / 255
    hr_nchw = torch.full((2, 3, 4, 5), 100.0, dtype=torch.float64)
    shift = level * torch.tensor([2.0, -20.0], dtype=torch.float64)[:, None, None, None]
    squares = [1.1 * 2**2 + 16, 1.1 * 20**2 + 16]
    expected = sum(10 * math.log10(square / 255**2) for square in squares) / 2
    assert float(loss_function("psnr-luma", value_range)(hr_nchw + shift, hr_nchw)) == (
        pytest.approx(expected, rel=1e-6)
    )


def test_without_error_the_psnr_loss_is_flat_and_finite() -> None:
    upscaled_nchw = torch.full((1, 3, 4, 5), 0.5, requires_grad=True)
    loss = loss_function("psnr-luma", 1.0)(upscaled_nchw, upscaled_nchw.detach().clone())
    loss.backward()
    assert float(loss.detach()) == pytest.approx(10 * math.log10(16 / 255**2))
    assert upscaled_nchw.grad is not None
    assert not upscaled_nchw.grad.any()


@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_the_ssim_term_is_what_the_metric_lacks_of_one(value_range: float) -> None:
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 256, (20, 24), dtype=np.uint8) for _ in range(2))
    # Grey, so that luma is the grey level itself; the metric's luma lies in [16, 235].
    greys = [
        torch.from_numpy(x).double().mul(value_range / 255).expand(1, 3, 20, 24) for x in (a, b)
    ]
    own = loss_function("l1", value_range)
    term = with_ssim(own, 2.0, value_range)(*greys) - own(*greys)
    expected = structural_similarity(a, b)
    assert float(term) == pytest.approx(2 * (1 - expected), abs=1e-5)
    assert with_ssim(own, 0, value_range) is own


def structural_similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Of grey images, from the formula, window by window."""
    offsets = np.arange(11) - 5
    row = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(row, row) / row.sum() ** 2
    values: list[float] = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = (part[y : y + 11, x : x + 11] / 255 for part in (a, b))
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            variances = (window * p * p).sum() - mean_p**2 + (window * q * q).sum() - mean_q**2
            covariance = (window * p * q).sum() - mean_p * mean_q
            alike = (2 * mean_p * mean_q + 1e-4) * (2 * covariance + 9e-4)
            values.append(alike / ((mean_p**2 + mean_q**2 + 1e-4) * (variances + 9e-4)))
    return float(np.mean(values))


def test_the_average_follows_its_formula_and_copies_counters() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    ema = Ema(net, decay=0.15)
    expected = {n: t.clone() for n, t in net.state_dict().items()}
    for step in range(3):
        with torch.no_grad():
            for tensor in net.state_dict().values():
                tensor.add_(step + 1)
        ema.update(step)
        decay = min(0.15, (1 + step) / (10 + step))
        for name, tensor in net.state_dict().items():
            own = tensor if name.endswith("tracked") else torch.lerp(tensor, expected[name], decay)
            expected[name] = own.clone()
    for name, tensor in ema.net.state_dict().items():
        assert torch.allclose(tensor, expected[name], rtol=1e-6), name
    assert not any(parameter.requires_grad for parameter in ema.net.parameters())


def test_a_decay_of_zero_is_the_network_itself() -> None:
    net = nn.Conv2d(3, 3, 3)
    ema = Ema(net, decay=0.0)
    with torch.no_grad():
        net.weight.normal_()
    ema.update(1000)
    assert torch.equal(ema.net.weight, net.weight)


@pytest.mark.parametrize("batch", [3, 4, 16, 17])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shares_of_a_batch_are_whole_disjoint_and_even(batch: int, count: int) -> None:
    shares = [Processes(rank, count).rows(batch) for rank in range(count)]
    rows = [row for share in shares for row in range(batch)[share]]
    assert rows == list(range(batch))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_more_processes_than_rows_are_refused() -> None:
    with pytest.raises(ProcessGroupError, match="got 4 processes for a batch of 3"):
        Processes(0, 4).rows(3)


_ROWS = [Row(4, 1e-3, 0.123456789, None, 1.0), Row(8, 5e-4, 0.1, 31.25, 2.0)]


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv", 0)
    for row in _ROWS:
        log.add(row)
    assert read_rows(tmp_path / "log.csv") == _ROWS == log.rows


def test_rows_behind_a_checkpoint_and_a_cut_line_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = Log(path, 0)
    for row in _ROWS:
        log.add(row)
    with path.open("a") as file:
        file.write("12,0.00")
    assert Log(path, 4).rows == _ROWS[:1]
    assert read_rows(path) == _ROWS[:1]


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv", 0)
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*log\.csv: Is a directory"):
        log.add(_ROWS[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "rows",
    [[], _ROWS[:1], _ROWS, [Row(4, 1e-3, -31.5, None, 1.0), Row(8, 1e-3, -31.7, 33.0, 2.0)]],
    ids=["none", "loss", "psnr", "decibels"],
)
def test_a_curve_is_a_image(tmp_path: Path, rows: list[Row]) -> None:
    draw_curve(tmp_path / "curve.png", rows, 30.0)
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (960, 720)


def test_validation_rounds_clips_and_shaves_as_the_metrics_do() -> None:
    class Nearest(nn.Module):
        """Repeats pixels, and leaves the range."""

        def forward(self, lr_nchw: torch.Tensor) -> torch.Tensor:
            return lr_nchw.repeat_interleave(2, 2).repeat_interleave(2, 3) * 1.3

    random = np.random.RandomState(0)
    hr = [random.randint(0, 256, (24, 20, 3)).astype(np.uint8) for _ in range(2)]
    pairs = [Pair(str(i), imresize(p, 0.5), p) for i, p in enumerate(hr)]
    expected = [psnr_y(_nearest(pair.lr_hwc_u8), pair.hr_hwc_u8, 2) for pair in pairs]
    for value_range in (1.0, 255.0):
        got = mean_psnr(by_network(Nearest(), value_range), pairs, 2)
        assert got == pytest.approx(np.mean(expected), abs=1e-2)
    bicubic = [psnr_y(imresize(p.lr_hwc_u8, 2), p.hr_hwc_u8, 2) for p in pairs]
    assert mean_psnr(by_bicubic(2), pairs, 2) == pytest.approx(np.mean(bicubic))


def _nearest(lr_hwc_u8: np.ndarray) -> np.ndarray:
    values = np.rint(lr_hwc_u8.repeat(2, 0).repeat(2, 1) * 1.3)
    return values.clip(0, 255).astype(np.uint8)


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 cut", b"text", pickle.dumps(_Evil()), pickle.dumps([1])],
    ids=["empty", "cut", "text", "code", "list"],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(ResumeError, match=r"checkpoint\.pt is (damaged or )?no training") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    assert not Path("evil").exists()


def test_every_cut_of_a_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 1, "step": torch.zeros(100)}, path)
    content = path.read_bytes()
    for end in range(0, len(content), 97):
        path.write_bytes(content[:end])
        with pytest.raises(ResumeError):
            checkpoint.load(path)


def test_the_difference_between_two_trainings_is_named() -> None:
    ours, theirs = (short_recipe(seed=s).model_dump(mode="json") for s in (0, 1))
    with pytest.raises(ResumeError, match=r"f is of another training: recipe\.seed was 0, now 1"):
        checkpoint.check_identity(Path("f"), {"recipe": ours}, {"recipe": theirs})
    checkpoint.check_identity(Path("f"), {"recipe": ours}, {"recipe": dict(ours)})


def test_a_network_that_has_changed_since_is_one_line(tmp_path: Path) -> None:
    recipe = short_recipe()
    device = torch.device("cpu")
    state = new_state(recipe, recipe.spec, device)
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, state, {}, [checkpoint.random_state(device)], state.loss_sum)
    other = new_state(short_recipe(training_form=True), recipe.spec, device)
    with pytest.raises(ResumeError, match="other parameters than the one of this version"):
        checkpoint.restore(other, checkpoint.load(path), first=True)


def test_random_generators_go_on_where_they_were() -> None:
    device = torch.device("cpu")
    before = checkpoint.random_state(device)
    drawn = random_image(0, 4, dtype=torch.float32), torch.rand(4)
    checkpoint.set_random_state(before, device)
    assert torch.equal(torch.rand(4), drawn[1])
