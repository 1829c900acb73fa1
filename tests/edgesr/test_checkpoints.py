"""Reading checkpoints: every container, every refusal, each with a real file."""

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from edgesr import checkpoints
from edgesr.errors import ArchitectureError, CheckpointError, UnsupportedCheckpointError
from edgesr.registry import COUNTER_SUFFIX, ArchSpec, all_specs, build, find_spec

State = dict[str, torch.Tensor]
SPECS = [pytest.param(spec, id=f"{spec.name}-x{spec.scale}") for spec in all_specs()]
RTC_SHA256 = "5696ca25971477a93f2a3f3b235039e30afefff1bb560efdc48c0f880635a2ab"


@pytest.fixture
def state() -> State:
    """Random weights of IMDN_RTC."""
    torch.manual_seed(1)
    return build(find_spec("rtc")).state_dict()


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save_as(content: object, name: str = "weights.pth", **kwargs: bool) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path, **kwargs)
        return path

    return save_as


def assert_holds(loaded: checkpoints.LoadedCheckpoint, state: State, tolerance: float = 0) -> None:
    """The network has these weights, in float32 and eval mode."""
    got = loaded.net.state_dict()
    for name, tensor in state.items():
        assert got[name].dtype == (torch.int64 if name.endswith(COUNTER_SUFFIX) else torch.float32)
        worst = (got[name] - tensor).abs().max().item()
        assert worst <= tolerance, f"{name}: max error {worst}"
    assert set(got) == set(state)
    assert not any(module.training for module in loaded.net.modules())


def refusal(path: Path, model: str | None = None, kind: type = CheckpointError) -> str:
    """The one line with which `load` refuses a file."""
    with pytest.raises(kind) as caught:
        checkpoints.load(path, model)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


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


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        assert "No such file" in refusal(tmp_path / "nowhere.pth")

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in refusal(tmp_path)

    def test_empty(self, save: Callable[..., Path]) -> None:
        assert "has 0 bytes" in refusal(save(b""))

    def test_no_regular_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.pth")  # reading it would wait for ever
        assert "no regular file" in refusal(tmp_path / "pipe.pth")

    def test_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.pth"
        with path.open("wb") as file:
            file.truncate(2**30 + 1)  # a hole: takes no room
        assert "allowed 1 to 1073741824" in refusal(path)

    @pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
    @pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
    def test_truncated(
        self, container: str, share: float, state: State, save: Callable[..., Path]
    ) -> None:
        if container == "safetensors":
            whole = safetensors.torch.save(state)
        else:
            buffer = io.BytesIO()
            torch.save(state, buffer, _use_new_zipfile_serialization=container == "zip")
            whole = buffer.getvalue()
        suffix = ".safetensors" if container == "safetensors" else ".pth"
        message = refusal(save(whole[: int(share * len(whole))], "cut" + suffix))
        assert "is truncated or damaged" in message

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"lr: 0.001\nepochs: 300\n", id="text"),
            pytest.param(b"<!DOCTYPE html><html></html>", id="web-page"),
            pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", id="lfs"),
            pytest.param(bytes(range(256)) * 8, id="bytes"),
            pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), id="picture"),
            pytest.param(bytes(4096), id="zeros"),
        ],
    )
    def test_another_format(self, content: bytes, save: Callable[..., Path]) -> None:
        assert "is no PyTorch or safetensors file: it begins with" in refusal(save(content))

    def test_random_bytes_never_escape_as_another_error(self, save: Callable[..., Path]) -> None:
        generator = torch.Generator().manual_seed(0)
        for start in (b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95"):
            for _ in range(25):
                noise = torch.randint(0, 256, (200,), generator=generator, dtype=torch.uint8)
                refusal(save(start + noise.numpy().tobytes()))


class _Marker:
    """Unpickled carelessly, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {self.path}",))


class TestMaliciousFiles:
    @pytest.mark.parametrize("container", ["zip", "legacy", "bare-pickle"])
    def test_no_code_runs(
        self, container: str, tmp_path: Path, state: State, save: Callable[..., Path]
    ) -> None:
        marker = tmp_path / "marker"
        content: object = {**state, "model.0.weight": _Marker(marker)}
        if container == "bare-pickle":
            content = pickle.dumps(_Marker(marker), protocol=2)
        message = refusal(
            save(
                content,
                **({"_use_new_zipfile_serialization": False} if container == "legacy" else {}),
            )
        )
        assert not marker.exists()
        assert "is refused: it holds more than tensors" in message
        assert "system" in message

    def test_the_marker_would_appear_if_the_file_were_trusted(self, tmp_path: Path) -> None:
        pickle.loads(pickle.dumps(_Marker(tmp_path / "marker")))
        assert (tmp_path / "marker").exists()

    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
    def test_a_whole_saved_network_is_refused_with_advice(
        self, legacy: bool, save: Callable[..., Path]
    ) -> None:
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3))
        message = refusal(save(net, _use_new_zipfile_serialization=not legacy))
        assert "whole saved network" in message
        assert "torch.save(net.state_dict(), FILE)" in message

    def test_other_objects_beside_the_weights_are_refused_with_advice(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        import argparse

        message = refusal(save({"state_dict": state, "args": argparse.Namespace(lr=1)}))
        assert "argparse.Namespace" in message
        assert "state_dict()" in message

    def test_a_dict_inside_itself_is_refused(self, save: Callable[..., Path]) -> None:
        endless: dict[str, object] = {}
        endless["params"] = endless
        assert "without end" in refusal(save(endless))


class TestBadContents:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            pytest.param(torch.zeros(3), "holds a Tensor", id="tensor"),
            pytest.param([torch.zeros(3)], "holds a list", id="list"),
            pytest.param({}, "holds no weights", id="empty-dict"),
            pytest.param({"params": {}}, "holds no weights", id="empty-params"),
            pytest.param({"model": {"a": torch.zeros(1)}}, "'model' is a dict", id="unknown-entry"),
            pytest.param({"epoch": 3, "w": torch.zeros(1)}, "'epoch' is a int", id="number"),
            pytest.param({1: torch.zeros(1)}, "entry 1 is", id="number-as-name"),
            pytest.param({"w": torch.zeros(1, device="meta")}, "meta tensor", id="meta"),
            pytest.param({"w": torch.eye(2).to_sparse()}, "sparse", id="sparse"),
        ],
    )
    def test_no_state_dict(self, content: object, reason: str, save: Callable[..., Path]) -> None:
        assert reason in refusal(save(content))

    @pytest.mark.parametrize(
        ("value", "counts"),
        [
            pytest.param(float("nan"), "2 NaN and 0 infinite of 324", id="nan"),
            pytest.param(float("inf"), "0 NaN and 2 infinite of 324", id="infinity"),
            pytest.param(-float("inf"), "0 NaN and 2 infinite of 324", id="minus-infinity"),
        ],
    )
    def test_weights_that_are_not_finite(
        self, value: float, counts: str, state: State, save: Callable[..., Path]
    ) -> None:
        state["model.0.weight"][3, 1, 0, :2] = value
        message = refusal(save({f"module.{name}": t for name, t in state.items()}))
        assert f"module.model.0.weight holds {counts} values" in message

    def test_weights_beyond_float32(self, state: State, save: Callable[..., Path]) -> None:
        wide = {name: tensor.double() for name, tensor in state.items()}
        wide["model.0.bias"][0] = 1e300
        assert "model.0.bias holds 0 NaN and 1 infinite of 12" in refusal(save(wide))

    def test_whole_numbers(self, state: State, save: Callable[..., Path]) -> None:
        state["model.0.weight"] = state["model.0.weight"].to(torch.int8)
        assert "model.0.weight is of type torch.int8" in refusal(save(state))

    def test_wrong_architecture_names_the_nearest(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        del state["model.2.bias"]
        message = refusal(save(state), kind=UnsupportedCheckpointError)
        assert "nearest is imdn-rtc x2 (plain form): 1 missing (model.2.bias)" in message

    def test_another_model_than_asked_for(self, state: State, save: Callable[..., Path]) -> None:
        message = refusal(save(state), model="fmen-s", kind=UnsupportedCheckpointError)
        assert "is of imdn-rtc x2 (plain form), not of fmen-s x4" in message

    def test_unknown_model_name_is_refused_before_the_file_is_read(self, tmp_path: Path) -> None:
        with pytest.raises(ArchitectureError, match="unknown model 'esrgan'"):
            checkpoints.load(tmp_path / "nowhere.pth", model="esrgan")

    @pytest.mark.parametrize("alias", ["rtc", "imdn-rtc"])
    def test_the_model_asked_for_may_be_an_alias(
        self, alias: str, state: State, save: Callable[..., Path]
    ) -> None:
        assert checkpoints.load(save(state), model=alias).spec.name == "imdn-rtc"


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
        "from edgesr import checkpoints, errors\n"
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


@pytest.mark.parametrize(("model", "scale"), [("imdn", 2), ("fmen", None)])
def test_another_network_or_scale_than_asked_for_is_refused(
    tmp_path: Path, model: str, scale: int | None
) -> None:
    torch.save(build(find_spec("imdn", 3)).state_dict(), tmp_path / "net.pth")
    with pytest.raises(UnsupportedCheckpointError, match="of imdn x3"):
        checkpoints.load(tmp_path / "net.pth", model, scale)
