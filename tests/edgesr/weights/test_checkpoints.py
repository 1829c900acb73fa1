"""Reading checkpoints: every container, each with a real file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from edgesr.networks.spec import COUNTER_SUFFIX, ArchSpec, build, find_spec
from edgesr.weights import checkpoints
from helpers.networks import SPECS

State = dict[str, torch.Tensor]
RTC_SHA256 = "5696ca25971477a93f2a3f3b235039e30afefff1bb560efdc48c0f880635a2ab"


def assert_holds(loaded: checkpoints.LoadedCheckpoint, state: State, tolerance: float = 0) -> None:
    """The network has these weights, in float32 and eval mode."""
    got = loaded.net.state_dict()
    for name, tensor in state.items():
        assert got[name].dtype == (torch.int64 if name.endswith(COUNTER_SUFFIX) else torch.float32)
        worst = (got[name] - tensor).abs().max().item()
        assert worst <= tolerance, f"{name}: max error {worst}"
    assert set(got) == set(state)
    assert not any(module.training for module in loaded.net.modules())


class TestPublished:
    @pytest.mark.parametrize(
        ("filename", "name", "licence"),
        [
            ("model_RTC.pth", "imdn-rtc", "none stated"),
            ("fmen_test_weights.pt", "fmen-s", "Apache-2.0"),
            ("team03_fmen.pth", "fmen-s", "MIT"),
        ],
    )
    def test_loads_with_its_licence_and_source(
        self, shared: Path, filename: str, name: str, licence: str
    ) -> None:
        loaded = checkpoints.load(shared / "reference" / filename, model=name)
        assert (loaded.spec.name, loaded.training_form) == (name, False)
        assert (loaded.filename, loaded.licence) == (filename, licence)
        assert "https://" in loaded.source
        assert loaded.sha256 in {weights.sha256 for weights in loaded.spec.all_published}
        assert sum(p.numel() for p in loaded.net.parameters()) == loaded.spec.parameters

    def test_two_trainings_of_one_network_differ(self, shared: Path) -> None:
        names = ("fmen_test_weights.pt", "team03_fmen.pth")
        nets = [checkpoints.load(shared / "reference" / name).net for name in names]
        assert checkpoints.weights_sha256(nets[0]) != checkpoints.weights_sha256(nets[1])

    def test_sha256_is_that_of_the_file(self, shared: Path) -> None:
        assert checkpoints.load(shared / "reference" / "model_RTC.pth").sha256 == RTC_SHA256


class TestContainers:
    @pytest.mark.parametrize(
        "wrap",
        [
            pytest.param(lambda s: s, id="bare"),
            pytest.param(lambda s: {"state_dict": s, "epoch": 3}, id="state_dict"),
            pytest.param(lambda s: {"params": s}, id="params"),
            pytest.param(lambda s: {"model_state_dict": s, "optimizer": {}}, id="model_state_dict"),
            pytest.param(lambda s: {"state_dict": {"params_ema": s}}, id="nested"),
            pytest.param(lambda s: {f"module.{n}": t for n, t in s.items()}, id="data-parallel"),
            pytest.param(
                lambda s: {
                    "params": {n: torch.zeros_like(t) for n, t in s.items()},
                    "params_ema": s,
                },
                id="average-before-params",
            ),
        ],
    )
    def test_weights_are_found(
        self, wrap: Callable[[State], object], state: State, save: Callable[..., Path]
    ) -> None:
        loaded = checkpoints.load(save(wrap(state)))
        assert_holds(loaded, state)
        assert loaded.licence == "unknown"
        assert "user's own" in loaded.source

    @pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin"])
    def test_safetensors_is_read_by_name_and_by_content(
        self, name: str, state: State, save: Callable[..., Path]
    ) -> None:
        assert_holds(checkpoints.load(save(safetensors.torch.save(state), name)), state)

    def test_files_of_old_torch_versions_are_read(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        path = save(state, _use_new_zipfile_serialization=False)
        assert_holds(checkpoints.load(path), state)

    @pytest.mark.parametrize(
        ("dtype", "tolerance"),
        [
            pytest.param(torch.float16, 2e-4, id="float16"),
            pytest.param(torch.bfloat16, 2e-3, id="bfloat16"),
            pytest.param(torch.float64, 0, id="float64"),
        ],
    )
    def test_other_float_types_become_float32(
        self, dtype: torch.dtype, tolerance: float, state: State, save: Callable[..., Path]
    ) -> None:
        path = save({name: tensor.to(dtype) for name, tensor in state.items()})
        assert_holds(checkpoints.load(path), state, tolerance)

    @pytest.mark.parametrize("spec", [p for p in SPECS if p.values[0].has_training_form])
    @pytest.mark.parametrize("with_counters", [True, False], ids=["counters", "no-counters"])
    def test_training_form_with_batch_norm_is_read(
        self, spec: ArchSpec, with_counters: bool, save: Callable[..., Path]
    ) -> None:
        state = build(spec, training_form=True).state_dict()
        for name, tensor in state.items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
        kept = {n: t for n, t in state.items() if with_counters or not n.endswith(COUNTER_SUFFIX)}
        loaded = checkpoints.load(save(kept))
        assert (loaded.spec, loaded.training_form) == (spec, True)
        assert_holds(loaded, state)

    def test_loading_leaves_the_random_numbers_of_the_caller(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        path = save(state)
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        checkpoints.load(path)
        assert torch.equal(torch.rand(3), expected)


class TestWeightsSha256:
    def test_does_not_depend_on_the_container(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        files = [
            save(state, "a.pth"),
            save({"params": {f"module.{n}": t for n, t in state.items()}}, "b.pth"),
            save(safetensors.torch.save(state), "c.safetensors"),
            save({n: t.double() for n, t in reversed(state.items())}, "d.pth"),
        ]
        loaded = [checkpoints.load(path) for path in files]
        assert len({checkpoints.weights_sha256(each.net) for each in loaded}) == 1
        assert len({each.sha256 for each in loaded}) == len(files)

    def test_changes_with_one_value(self, state: State, save: Callable[..., Path]) -> None:
        net = checkpoints.load(save(state)).net
        before = checkpoints.weights_sha256(net)
        with torch.no_grad():
            next(iter(net.parameters())).view(-1)[0] += 1e-6
        assert checkpoints.weights_sha256(net) != before

    def test_changes_when_two_tensors_are_exchanged(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        exchanged = dict(state)
        first, second = "model.1.sub.0.c1.weight", "model.1.sub.1.c1.weight"
        exchanged[first], exchanged[second] = state[second], state[first]
        nets = [checkpoints.load(save(s, f"{i}.pth")).net for i, s in enumerate((state, exchanged))]
        assert checkpoints.weights_sha256(nets[0]) != checkpoints.weights_sha256(nets[1])

    def test_of_a_known_tensor(self) -> None:
        net = torch.nn.Linear(2, 1)
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[1.0, -2.0]]))
            net.bias.fill_(0.5)
        # printf 'bias 1\n\0\0\0\x3fweight 1x2\n\0\0\x80\x3f\0\0\0\xc0' | sha256sum
        expected = "0c40fe11574cc1109a591efadc32aaa55077571286721cefcbb6a0f906468779"
        assert checkpoints.weights_sha256(net) == expected


@pytest.mark.parametrize("library", ["torch", "safetensors"])
def test_a_missing_library_is_named_with_the_extra_that_brings_it(library: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from pathlib import Path\n"
        "from edgesr import errors\nfrom edgesr.weights import checkpoints\n"
        "try: checkpoints.load(Path('a.pth'))\n"
        "except errors.MissingDependencyError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"needs {library}" in done.stdout
    assert "pip install 'edgesr[convert]'" in done.stdout


@pytest.mark.parametrize("scale", [None, 3])
def test_a_name_of_several_scales_is_told_by_the_checkpoint(
    tmp_path: Path, scale: int | None
) -> None:
    spec = find_spec("imdn", 3)
    torch.save(build(spec).state_dict(), tmp_path / "net.pth")
    assert checkpoints.load(tmp_path / "net.pth", "imdn", scale).spec is spec
