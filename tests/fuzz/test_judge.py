"""Each bad end of a command is found, and nothing is found where a command ends well."""

from collections.abc import Generator
from pathlib import Path

import pytest

from fuzz.case import Case
from fuzz.image_reference import check_upscaled
from fuzz.kinds.images import good_image, network
from fuzz.runner import Runner

_ENDS = {
    "crash": "signal",
    "traceback": "traceback",
    "hang": "hang",
    "leave_a_file": "files left",
    "leave_a_temporary_file": "files left",
    "change_the_input": "input changed",
    "leave_a_process": "process left",
    "say_nothing": "error lines",
    "fail_twice": "error lines",
    "chatter": "strange line",
    "say_too_much": "long line",
    "colour": "control character",
    "speak_python": "python words",
    "exit_oddly": "status",
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Generator[Runner]:
    made = Runner(["json"], tmp_path_factory.mktemp("fuzz"), limit_s=3)
    yield made
    made.close()


@pytest.mark.parametrize("name", _ENDS)
def test_a_bad_end_is_found(runner: Runner, name: str) -> None:
    found = runner.run(Case([], {"in.png": b"image"}, entry=f"fuzz.bad_ends:{name}"), name)
    assert [kind for kind, _ in found] == [_ENDS[name]], found


def test_nothing_is_found_where_an_input_is_refused_in_one_line(runner: Runner) -> None:
    assert runner.run(Case([], entry="fuzz.bad_ends:end_well"), "end_well") == []


def test_another_image_than_the_right_one_is_found(tmp_path: Path) -> None:
    from edgesr.cli.app import cli

    for name, content in (("in.png", good_image()), ("net.tflite", network())):
        (tmp_path / name).write_bytes(content)
    image, net, out = (str(tmp_path / name) for name in ("in.png", "net.tflite", "out.png"))
    cli.main(["upscale", image, "-m", net, "-o", out], standalone_mode=False)
    assert check_upscaled(good_image(), tmp_path, "") == []
    (tmp_path / "out.png").write_bytes(good_image())
    assert check_upscaled(good_image(), tmp_path, "") == [
        "got (20, 30), another decoder has (40, 60)"
    ]
