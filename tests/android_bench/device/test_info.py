import pytest

from android_bench.device.info import (
    battery_celsius,
    fast_cores,
    is_throttled,
    parse_clocks,
    parse_free_kib,
    parse_properties,
    parse_temperatures,
    soc_name,
)
from android_bench.errors import UnfitDeviceError
from android_bench.record import Health

COOL = Health(
    at="",
    thermal_status=0,
    battery_celsius=30.0,
    battery_percent=80,
    plugged=True,
    temperatures={},
    max_khz=(1000, 2000),
    memory_available_kib=None,
    boot_id="a",
)
THERMAL = """\
Thermal Status: 0
Cached temperatures:
	Temperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
	Temperature{mValue=NaN, mType=5, mName=PA, mStatus=0}
	Temperature{mValue=0.0, mType=1, mName=GPU, mStatus=0}
Current temperatures from HAL:
	Temperature{mValue=27.8, mType=0, mName=AP, mStatus=0}
	Temperature{mValue=-3.5, mType=2, mName=BAT, mStatus=0}
Temperature static thresholds from HAL:
	TemperatureThreshold{mType=3, mName=skin, mHotThrottlingThresholds=[39.0]}
"""


def test_properties_with_brackets_and_without_a_value() -> None:
    text = "[ro.product.model]: [SM-F9460]\n[a.b]: []\n[c]: [x [y] z]\n"
    assert parse_properties(text) == {"ro.product.model": "SM-F9460", "a.b": "", "c": "x [y] z"}


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        pytest.param(
            {"ro.soc.manufacturer": "QTI", "ro.soc.model": "SM8550"}, "QTI SM8550", id="Android 12"
        ),
        pytest.param({"ro.soc.model": "", "ro.board.platform": "kona"}, "kona", id="older"),
        pytest.param({"ro.hardware.chipname": "exynos990"}, "exynos990", id="chip's name"),
        pytest.param({"ro.board.platform": "unknown", "ro.hardware": "qcom"}, "qcom", id="unknown"),
        pytest.param({}, "", id="nothing"),
    ],
)
def test_the_chip_as_far_as_the_device_says(properties: dict[str, str], name: str) -> None:
    assert soc_name(properties) == name


def test_sensors_without_a_value_are_left_out_and_the_latest_counts() -> None:
    assert parse_temperatures(THERMAL) == {"AP": 27.8, "BAT": -3.5}
    assert parse_temperatures("Can't find service: thermalservice\n") == {}


@pytest.mark.parametrize(
    ("battery", "celsius"),
    [
        pytest.param({"temperature": "326", "present": "true"}, 32.6, id="tenths"),
        pytest.param({"temperature": "326", "present": "false"}, None, id="no battery"),
        pytest.param({"temperature": "26"}, None, id="a board's 26"),
        pytest.param({"temperature": "-20"}, None, id="below zero"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_the_batterys_temperature(battery: dict[str, str], celsius: float | None) -> None:
    assert battery_celsius(battery) == celsius


@pytest.mark.parametrize(
    ("text", "kib"),
    [
        pytest.param(
            "Filesystem     1K-blocks     Used Available Use% Mounted on\n"
            "/dev/block/dm-55 111234560 50000000  61234560  45% /data\n",
            61234560,
            id="toybox",
        ),
        pytest.param(
            "Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/block/a-long-name\n"
            "   1000 900 100  90% /data/user/0\n",
            100,
            id="broken line",
        ),
    ],
)
def test_the_free_space(text: str, kib: int) -> None:
    assert parse_free_kib(text, "s") == kib


def test_no_free_space_is_said() -> None:
    with pytest.raises(UnfitDeviceError, match="says: 'df: not found'"):
        parse_free_kib("df: not found", "s")


def test_clocks_of_cores_that_say_none() -> None:
    base = "/sys/devices/system/cpu"
    text = f"{base}/cpu10/cpufreq/x:7\n{base}/cpu0/cpufreq/x:5\n"
    assert parse_clocks(text) == (5, *[None] * 9, 7)
    assert parse_clocks("") == ()


LITTLE_BIG_PRIME = (1800, 1800, 1800, 1800, 2400, 2400, 2400, 3000)


@pytest.mark.parametrize(
    ("clocks", "threads", "mask"),
    [
        pytest.param(LITTLE_BIG_PRIME, 1, "80", id="the prime core"),
        pytest.param(LITTLE_BIG_PRIME, 4, "f0", id="with the big ones"),
        pytest.param(LITTLE_BIG_PRIME, 5, None, id="all are needed"),
        pytest.param(LITTLE_BIG_PRIME, 9, None, id="more threads than cores"),
        pytest.param((2000, 2000), 1, None, id="all alike"),
        pytest.param((2000, None), 1, None, id="one says nothing"),
        pytest.param((), 1, None, id="none says anything"),
    ],
)
def test_the_mask_of_the_fast_cores(
    clocks: tuple[int | None, ...], threads: int, mask: str | None
) -> None:
    assert fast_cores(clocks, threads) == mask


@pytest.mark.parametrize(
    ("change", "throttled"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param({"thermal_status": 1}, True, id="status"),
        pytest.param({"thermal_status": None}, False, id="no status"),
        pytest.param({"max_khz": (1000, 1900)}, True, id="a lower clock"),
        pytest.param({"max_khz": (1000, None)}, False, id="no clock"),
        pytest.param({"max_khz": (1000, 2100)}, False, id="a higher clock"),
    ],
)
def test_what_shows_that_heat_slowed_it_down(change: dict[str, object], throttled: bool) -> None:
    assert is_throttled(COOL, COOL.model_copy(update=change)) is throttled
