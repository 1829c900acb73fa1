"""Checkpoints that are refused, each with a real file: in one line, and without running it."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from edgesr.errors import ArchitectureError, CheckpointError, UnsupportedCheckpointError
from edgesr.networks.spec import build, find_spec
from edgesr.weights import checkpoint_file, checkpoints

State = dict[str, torch.Tensor]


def refusal(path: Path, model: str | None = None, kind: type = CheckpointError) -> str:
    """The one line with which `load` refuses a file."""
    with pytest.raises(kind) as caught:
        checkpoints.load(path, model)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        assert "No such file" in refusal(tmp_path / "nowhere.pth")

    def test_folder(self, tmp_path: Path) -> None:
        assert "it is a folder" in refusal(tmp_path)

    def test_empty(self, save: Callable[..., Path]) -> None:
        assert "has 0 bytes" in refusal(save(b""))

    def test_no_regular_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.pth")  # reading it would wait for ever
        assert "it is a named pipe, allowed is a regular file" in refusal(tmp_path / "pipe.pth")

    def test_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.pth"
        with path.open("wb") as file:
            file.truncate(2**30 + 1)  # a hole: takes no room
        assert "allowed are 1,024 MiB" in refusal(path)

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
            pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), id="image"),
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


def _zip(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _changed_member(content: bytes, suffix: str, new: bytes) -> bytes:
    """The archive with other content in one member, checksums right."""
    changed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for member in old.infolist():
            own = member.filename.endswith(suffix)
            archive.writestr(member.filename, new if own else old.read(member))
    return changed.getvalue()


class TestContainers:
    def test_one_flipped_bit_of_a_weight(self, state: State, save: Callable[..., Path]) -> None:
        content = bytearray(_zip(state))
        values = next(iter(state.values())).numpy().tobytes()
        content[content.index(values) + 3] ^= 0x40
        assert "checksum of" in refusal(save(bytes(content)))

    @pytest.mark.parametrize("container", ["zip", "legacy"])
    def test_a_small_file_with_an_endless_pickle(
        self, container: str, state: State, save: Callable[..., Path]
    ) -> None:
        endless = b"\x80\x02" + b"N0" * 2_000_000 + b"N."
        content = _changed_member(_zip(state), "data.pkl", endless)
        assert len(content) < 100_000
        message = refusal(save(content if container == "zip" else endless))
        assert "a pickle of more than 500,000 steps" in message

    def test_an_archive_that_unpacks_to_too_much(
        self, state: State, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoint_file, "_MAX_BYTES", 2**20)
        content = _changed_member(_zip(state), "/data/0", bytes(2**21))
        assert "unpacks to 2 MiB" in refusal(save(content))

    def test_an_intact_torchscript_is_named_and_not_called_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "net.pt"
        torch.jit.trace(torch.nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 8, 8)).save(str(path))
        message = refusal(path)
        assert "is a TorchScript archive" in message
        assert "damaged" not in message

    def test_an_intact_exported_program_is_named_and_not_called_damaged(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "net.pt2"
        net = torch.nn.Conv2d(3, 3, 3)
        torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 8, 8),)), path)
        message = refusal(path)
        assert "is a program of torch.export" in message
        assert "damaged" not in message

    def test_the_content_counts_and_not_the_suffix(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        assert checkpoints.load(save(_zip(state), "torch.safetensors")).spec.name == "imdn-rtc"
        content = safetensors.torch.save(state)
        assert checkpoints.load(save(content, "safe.pth")).spec.name == "imdn-rtc"

    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
    def test_the_advice_to_trust_a_file_is_never_passed_on(
        self, legacy: bool, state: State, save: Callable[..., Path]
    ) -> None:
        for content in (
            {**state, "fn": print},
            {**state, "odd": memoryview},
            {"a": torch.nn.ReLU()},
        ):
            message = refusal(save(content, _use_new_zipfile_serialization=not legacy))
            assert "weights_only" not in message


class TestWrappers:
    @pytest.mark.parametrize(
        ("wrap", "where"),
        [
            (lambda s: {f"net_g.{k}": v for k, v in s.items()}, "net_g."),
            (lambda s: {f"generator.module.{k}": v for k, v in s.items()}, "generator."),
            (lambda s: {"model": s, "optimizer": {"state": {}, "lr": 0.1}, "epoch": 3}, "model."),
            (lambda s: {"state_dict": {f"net.{k}": v for k, v in s.items()}}, "state_dict.net."),
            (
                lambda s: {f"model.{k}": v for k, v in s.items()} | {"loss.w": torch.zeros(3)},
                "model.",
            ),
        ],
        ids=["net_g", "generator, module", "model beside optimizer", "lightning", "loss beside"],
    )
    def test_weights_under_another_name_are_found_and_it_is_noted(
        self,
        wrap: Callable[[State], dict[str, object]],
        where: str,
        state: State,
        save: Callable[..., Path],
    ) -> None:
        loaded = checkpoints.load(save(wrap(state)))
        assert loaded.spec.name == "imdn-rtc"
        assert all(torch.equal(v, state[k]) for k, v in loaded.net.state_dict().items())
        (note,) = loaded.notes
        assert where in note

    def test_the_usual_places_need_no_note(self, state: State, save: Callable[..., Path]) -> None:
        assert checkpoints.load(save({"params_ema": state, "iter": 3})).notes == ()

    def test_weights_that_are_all_zero_are_noted(
        self, state: State, save: Callable[..., Path]
    ) -> None:
        zeros = {name: torch.zeros_like(value) for name, value in state.items()}
        assert checkpoints.load(save(zeros)).notes == ("all its weights are zero",)


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
            pytest.param(torch.zeros(3), "holds a cpu tensor of", id="tensor"),
            pytest.param(None, "holds None, allowed a state dict", id="nothing"),
            pytest.param({"w": torch.zeros(1), "b": None}, "entry 'b' is None", id="no-tensor"),
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


@pytest.mark.parametrize(("model", "scale"), [("imdn", 2), ("fmen", None)])
def test_another_network_or_scale_than_asked_for_is_refused(
    tmp_path: Path, model: str, scale: int | None
) -> None:
    torch.save(build(find_spec("imdn", 3)).state_dict(), tmp_path / "net.pth")
    with pytest.raises(UnsupportedCheckpointError, match="of imdn x3"):
        checkpoints.load(tmp_path / "net.pth", model, scale)
