"""`edgesr bench` given what it cannot measure, or a device that is in use."""

import platform
import subprocess
from pathlib import Path

import pytest
from fake_device import FakeDevice, write_benchmark_binary

from android_bench.device.workspace import WORKSPACE
from helpers.benching import Bench, is_clean


def test_a_program_for_another_processor(device: FakeDevice, bench: Bench, tmp_path: Path) -> None:
    binary = write_benchmark_binary(tmp_path / "b", abi="x86_64")
    bench(binary=binary).fails_alone("is for x86_64", "runs arm64-v8a", "--binary")
    assert device.pushed == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, ("cannot read",), id="missing"),
        pytest.param(b"#!/bin/sh\n", ("no Android program",), id="a script"),
        pytest.param(
            b"\x7fELF" + bytes(14) + b"\xb7\x00" + b"/lib/ld-linux-aarch64.so.1",
            ("built for Linux",),
            id="for desktop Linux",
        ),
        pytest.param(b"\x7fELF" + bytes(14) + b"\xf3\x00", ("machine 243",), id="RISC-V"),
    ],
)
def test_what_is_no_benchmark_model(
    device: FakeDevice, bench: Bench, tmp_path: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    binary = tmp_path / "b"
    if content is not None:
        binary.write_bytes(content)
    bench(binary=binary).fails_alone(*words)
    assert device.commands == []


def test_a_file_that_is_no_tflite(device: FakeDevice, bench: Bench, tmp_path: Path) -> None:
    bad = tmp_path / "a.tflite"
    bad.write_bytes(b"nothing")
    bench(file=bad).fails_alone("a.tflite", "not a .tflite")
    assert device.commands == []


def test_an_output_that_exists_is_left_alone(
    device: FakeDevice, bench: Bench, tmp_path: Path
) -> None:
    target = tmp_path / "r.json"
    target.write_text("mine")
    bench("-o", target).fails_alone("exists", "--force")
    assert target.read_text() == "mine"
    assert device.commands == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ("--delegate", "cpu", "--precision", "fp16"), "kernels compute in fp32", id="cpu fp16"
        ),
        pytest.param(
            ("--delegate", "cpu", "--gpu-backend", "cl"), "without --delegate gpu", id="backend"
        ),
    ],
)
def test_settings_that_mean_nothing(bench: Bench, words: tuple[str, ...], said: str) -> None:
    bench(*words).fails_alone(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("--threads", "1,x"), "allowed numbers", id="threads"),
        pytest.param(("--runs", "0"), "--runs", id="no runs"),
    ],
)
def test_wrong_usage(bench: Bench, words: tuple[str, ...], said: str) -> None:
    bench(*words).is_wrong_usage(said)


def test_two_benchmarks_on_one_device(device: FakeDevice, bench: Bench) -> None:
    owner = device.system.storage.host(f"{WORKSPACE}/owner")
    owner.parent.mkdir(parents=True)
    owner.write_text("elsewhere 1\n")
    bench().fails_alone("in use by another benchmark", "process 1 on elsewhere", "rm -r")
    assert device.files() != []


def test_what_a_killed_benchmark_left_is_taken_over(device: FakeDevice, bench: Bench) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    owner = device.system.storage.host(f"{WORKSPACE}/owner")
    owner.parent.mkdir(parents=True)
    owner.write_text(f"{platform.node()} {dead.pid}\n")
    assert bench("--json").status == 0
    assert is_clean(device)
