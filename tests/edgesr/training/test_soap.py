"""SOAP: what it does to weights, held against a plain statement of it, and where Adam is slow."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgesr.training.optimisers import Soap
from edgesr.training.recipe import Soap as Constants

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_RATE = 0.1


def _steps(shape: tuple[int, ...], gradients: list[Tensor], constants: Constants) -> Tensor:
    """The weights, from zero, after some gradients."""
    weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    optimizer = Soap([weight], _RATE, constants)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


def _gradients(count: int, shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(shape[0], shape[0], dtype=torch.float64, generator=generator)
    return [
        torch.tensordot(
            mixing, torch.randn(shape, dtype=torch.float64, generator=generator), ([1], [0])
        )
        for _ in range(count)
    ]


def test_nothing_moves_until_there_are_eigenbases() -> None:
    gradients = _gradients(21, (3, 4))
    constants = Constants()
    assert not _steps((3, 4), gradients[:20], constants).any()
    assert _steps((3, 4), gradients, constants).all()


@pytest.mark.parametrize(
    "shape", [(3, 5), (4,), (1,), (3, 2, 3, 3)], ids=["matrix", "vector", "one", "kernel"]
)
def test_the_first_move_is_adams_between_the_eigenbases(shape: tuple[int, ...]) -> None:
    constants = Constants(betas=(0.8, 0.9), shampoo_beta=0.7, eps=1e-12)
    gradients = _gradients(21, shape)
    matrices = [g.reshape(shape[0], -1).numpy() for g in gradients]
    rows = sum(0.3 * 0.7 ** (19 - k) * m @ m.T for k, m in enumerate(matrices[:20]))
    columns = sum(0.3 * 0.7 ** (19 - k) * m.T @ m for k, m in enumerate(matrices[:20]))
    left, right = np.linalg.eigh(rows)[1], np.linalg.eigh(columns)[1]
    mean = sum(0.2 * 0.8 ** (20 - k) * m for k, m in enumerate(matrices)) / (1 - 0.8**21)
    turned = left.T @ matrices[-1] @ right
    # The second moment of one gradient is that gradient's own size.
    expected = -_RATE * left @ (left.T @ mean @ right / np.abs(turned)) @ right.T
    got = _steps(shape, gradients, constants).reshape(shape[0], -1).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("refresh_every", [1, 10, 1000])
def test_the_eigenbases_stay_orthogonal_and_follow_the_gradients(refresh_every: int) -> None:
    weight = nn.Parameter(torch.zeros(4, 6, dtype=torch.float64))
    optimizer = Soap([weight], _RATE, Constants(refresh_every=refresh_every))
    for gradient in _gradients(120, (4, 6)):
        weight.grad = gradient
        optimizer.step()
    state = optimizer.state[weight]
    for side in ("rows", "columns"):
        basis = state[f"{side}_basis"]
        eye = torch.eye(len(basis), dtype=basis.dtype)
        assert torch.allclose(basis.T @ basis, eye, atol=1e-9), side
    turned = state["rows_basis"].T @ state["rows"] @ state["rows_basis"]
    off = float((turned - turned.diag().diag()).norm() / turned.norm())
    assert off < (0.05 if refresh_every <= 10 else 0.5), f"{off:.3f} of it is off the diagonal"


def _correlated_regression(optimizer_of: type[Soap] | type[torch.optim.Adam]) -> float:
    """The loss after 300 steps at fitting a matrix on inputs of which any two are much alike."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(512, 16, dtype=torch.float64, generator=generator)
    inputs = inputs @ torch.randn(16, 16, dtype=torch.float64, generator=generator)
    wanted = inputs @ torch.randn(16, 8, dtype=torch.float64, generator=generator)
    weight = nn.Parameter(torch.zeros(16, 8, dtype=torch.float64))
    if optimizer_of is Soap:
        optimizer: torch.optim.Optimizer = Soap([weight], 0.2, Constants())
    else:
        optimizer = torch.optim.Adam([weight], lr=0.2)
    loss = torch.zeros(())
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 300)
        optimizer.zero_grad()
        loss = (inputs @ weight - wanted).square().mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_where_inputs_are_correlated_it_is_well_ahead_of_adam() -> None:
    soap, adam = (_correlated_regression(which) for which in (Soap, torch.optim.Adam))
    assert soap < 0.1 * adam, f"SOAP {soap:.3g}, Adam {adam:.3g}"


def test_a_weight_that_is_one_number_moves_against_its_gradient() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = Soap([weight], _RATE, Constants())
    for _ in range(30):
        weight.grad = torch.tensor(2.0)
        optimizer.step()
    # Ten moves at the full rate, as all gradients are alike.
    assert float(weight.detach()) == pytest.approx(1.0 - 10 * _RATE, abs=1e-3)


def test_weights_without_a_gradient_are_left_alone() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = Soap([weight], _RATE, Constants())
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))


def test_a_closure_is_run_once_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    calls: list[bool] = []

    def closure() -> float:
        calls.append(torch.is_grad_enabled())
        return 3.0

    assert Soap([weight], _RATE, Constants()).step(closure) == 3.0
    assert calls == [True]
