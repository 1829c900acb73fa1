"""Which Vulkan drivers are found, in which order, and what is said of a wrong choice."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgesr.errors import NoGpuError
from edgesr.runtime import vulkan
from edgesr.runtime.vulkan import DRIVER_VARIABLES, Driver, DriverKind, find_drivers

SWIFTSHADER = "vk_swiftshader_icd.json"


def manifest(path: Path, library: str = "libvulkan_driver.so") -> Path:
    """A driver's manifest; a library named without a folder is the system's to find."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": {"library_path": library}}))
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a machine without any driver; what lies on this one is hidden."""
    monkeypatch.setattr(vulkan, "_BROWSER_FOLDERS", (str(tmp_path / "browser"),))
    variables = [variable for variable, _ in vulkan._FOLDERS]
    usual = tuple((variable, str(tmp_path / "system")) for variable in variables)
    monkeypatch.setattr(vulkan, "_FOLDERS", usual)
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}


def put(folder: Path, name: str) -> Path:
    return manifest(folder / "vulkan" / "icd.d" / name)


def kinds(environment: Mapping[str, str]) -> list[DriverKind]:
    return [driver.kind for driver in find_drivers(environment)]


def test_a_machine_without_drivers_has_none(machine: dict[str, str]) -> None:
    assert find_drivers(machine) == []


def test_hardware_comes_before_swiftshader_and_that_before_lavapipe(
    machine: dict[str, str], tmp_path: Path
) -> None:
    lavapipe = put(tmp_path / "data", "lvp_icd.x86_64.json")
    browser = manifest(tmp_path / "browser" / SWIFTSHADER)
    first = put(tmp_path / "data", "nvidia_icd.json")
    second = put(tmp_path / "data", "radeon_icd.x86_64.json")
    assert find_drivers({**machine, "XDG_DATA_HOME": str(tmp_path / "data")}) == [
        Driver(DriverKind.HARDWARE, (first, second)),
        Driver(DriverKind.SWIFTSHADER, (browser,)),
        Driver(DriverKind.LAVAPIPE, (lavapipe,)),
    ]


@pytest.mark.parametrize("variable", DRIVER_VARIABLES)
def test_a_driver_named_by_the_environment_counts_alone(
    variable: str, machine: dict[str, str], tmp_path: Path
) -> None:
    manifest(tmp_path / "browser" / SWIFTSHADER)
    put(tmp_path / "data", "nvidia_icd.json")
    chosen = (manifest(tmp_path / "a.json"), manifest(tmp_path / "b.json"))
    environment = {
        **machine,
        "XDG_DATA_HOME": str(tmp_path / "data"),
        variable: os.pathsep.join(map(str, chosen)),
    }
    assert find_drivers(environment) == [Driver(DriverKind.CHOSEN, chosen)]


def test_the_newer_variable_counts_before_the_older(
    machine: dict[str, str], tmp_path: Path
) -> None:
    new, old = manifest(tmp_path / "new.json"), manifest(tmp_path / "old.json")
    environment = {**machine, "VK_ICD_FILENAMES": str(old), "VK_DRIVER_FILES": str(new)}
    assert find_drivers(environment) == [Driver(DriverKind.CHOSEN, (new,))]


def test_an_empty_variable_chooses_nothing(machine: dict[str, str], tmp_path: Path) -> None:
    manifest(tmp_path / "browser" / SWIFTSHADER)
    assert kinds({**machine, "VK_DRIVER_FILES": ""}) == [DriverKind.SWIFTSHADER]


def test_the_loader_is_given_the_driver_and_no_other(tmp_path: Path) -> None:
    driver = Driver(DriverKind.HARDWARE, (tmp_path / "a.json", tmp_path / "b.json"))
    both = f"{tmp_path / 'a.json'}{os.pathsep}{tmp_path / 'b.json'}"
    assert driver.variables == {"VK_DRIVER_FILES": both, "VK_ICD_FILENAMES": both}


@pytest.mark.parametrize(
    "variable", ["XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS"]
)
def test_every_folder_of_the_loader_is_looked_into(
    variable: str, machine: dict[str, str], tmp_path: Path
) -> None:
    paths = (put(tmp_path / "one", "x.json"), put(tmp_path / "two", "y.json"))
    value = f"{tmp_path / 'one'}{os.pathsep}{os.pathsep}{tmp_path / 'two'}"
    assert find_drivers({**machine, variable: value}) == [Driver(DriverKind.HARDWARE, paths)]


def test_home_holds_folders_of_the_loader(tmp_path: Path, machine: dict[str, str]) -> None:
    usual = (("XDG_CONFIG_HOME", "{HOME}/.config"), ("XDG_DATA_HOME", "{HOME}/.local/share"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vulkan, "_FOLDERS", usual)
        paths = (
            put(tmp_path / "home" / ".config", "x.json"),
            put(tmp_path / "home" / ".local" / "share", "y.json"),
        )
        assert find_drivers(machine) == [Driver(DriverKind.HARDWARE, paths)]


def test_a_manifest_that_lies_twice_counts_once(machine: dict[str, str], tmp_path: Path) -> None:
    path = put(tmp_path / "data", "nvidia_icd.json")
    (tmp_path / "more" / "vulkan").mkdir(parents=True)
    (tmp_path / "more" / "vulkan" / "icd.d").symlink_to(path.parent)
    value = os.pathsep.join(str(tmp_path / name) for name in ("data", "more"))
    found = find_drivers({**machine, "XDG_DATA_DIRS": value})
    assert found == [Driver(DriverKind.HARDWARE, (path,))]


def test_a_browser_is_found_beside_its_program(machine: dict[str, str], tmp_path: Path) -> None:
    browser = manifest(tmp_path / "elsewhere" / SWIFTSHADER)
    program = tmp_path / "elsewhere" / "chromium"
    program.touch(mode=0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "chromium").symlink_to(program)
    assert find_drivers(machine) == [Driver(DriverKind.SWIFTSHADER, (browser,))]


BROKEN = [
    pytest.param(None, "cannot read {path}: No such file", id="missing"),
    pytest.param("folder", "cannot read {path}: Is a directory", id="a folder"),
    pytest.param(b"", "{path} is no JSON", id="empty"),
    pytest.param(b"\x7fELF\x02\x01\x01\xff\xfe", "{path} is no JSON", id="the library itself"),
    pytest.param(b"[]", "{path} names no library", id="a list"),
    pytest.param(b"{}", "{path} names no library", id="no ICD"),
    pytest.param(b'{"ICD": "libx.so"}', "{path} names no library", id="ICD of another kind"),
    pytest.param(b'{"ICD": {}}', "{path} names no library", id="no library_path"),
    pytest.param(b'{"ICD": {"library_path": 1}}', "{path} names no library", id="a number"),
    pytest.param(
        b'{"ICD": {"library_path": "./libx.so"}}',
        "{path} names ./libx.so, which is not there",
        id="library missing beside it",
    ),
    pytest.param(
        b'{"ICD": {"library_path": "/nowhere/libx.so"}}',
        "{path} names /nowhere/libx.so, which is not there",
        id="library missing elsewhere",
    ),
]


def write(path: Path, content: bytes | str | None) -> None:
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)


@pytest.mark.parametrize("variable", DRIVER_VARIABLES)
@pytest.mark.parametrize(("content", "problem"), BROKEN)
def test_a_wrong_choice_is_one_clear_line(
    content: bytes | str | None, problem: str, variable: str, tmp_path: Path
) -> None:
    path = tmp_path / "icd.json"
    write(path, content)
    with pytest.raises(NoGpuError) as caught:
        find_drivers({variable: str(path)})
    message = str(caught.value)
    assert message.startswith(f"got {variable}={path}: {problem.format(path=path)}")
    assert message.endswith(f"name a Vulkan driver's manifest (.json) or unset {variable}")
    assert len(message.splitlines()) == 1


def test_one_wrong_path_of_several_is_named(tmp_path: Path) -> None:
    good = manifest(tmp_path / "good.json")
    with pytest.raises(NoGpuError, match=r"cannot read /nowhere\.json"):
        find_drivers({"VK_DRIVER_FILES": f"{good}{os.pathsep}/nowhere.json"})


def test_a_list_of_nothing_is_refused() -> None:
    with pytest.raises(NoGpuError, match="it names no file"):
        find_drivers({"VK_DRIVER_FILES": os.pathsep})


@pytest.mark.parametrize(("content", "_"), BROKEN)
def test_a_broken_manifest_that_nobody_named_is_passed_over(
    content: bytes | str | None, _: str, machine: dict[str, str], tmp_path: Path
) -> None:
    path = put(tmp_path / "data", "x.json")
    path.unlink()
    write(path, content)
    assert find_drivers({**machine, "XDG_DATA_HOME": str(tmp_path / "data")}) == []


def test_looking_changes_no_environment(machine: dict[str, str]) -> None:
    before = dict(os.environ)
    find_drivers(machine)
    find_drivers()
    assert dict(os.environ) == before


def test_a_folder_that_cannot_be_read_is_passed_over(
    machine: dict[str, str], tmp_path: Path
) -> None:
    """As root's is for another user who kept root's HOME."""
    expected = find_drivers(machine)
    assert find_drivers(machine | {"HOME": "/" + "a" * 5000}) == expected
