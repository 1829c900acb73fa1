"""From `edgesr bench` on a device to a page in a browser."""

import html
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_device import AdbServer, FakeDevice, Fault, Heat, Speed

from edgesr.benchmark.record import OperatorTime
from edgesr.benchmark.results import Measurement, Moment
from edgesr.report.benchmark_page import Sheet, render
from helpers.benching import Bench, is_clean
from helpers.commands import run_here

HOSTILE = "</pre><script>alert(1)</script>\x1b[2J\u202e<img src=https://example.org/x onerror=y>"


def processor_seconds() -> float:
    """What this process and those that it has waited for have computed."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(**changes: object) -> Measurement:
    values: dict[str, object] = {
        "file": "imdn-rtc_x2_720x480_fp16.tflite",
        "sha256": "a" * 64,
        "device": "Maker Device (serial)",
        "device_key": "key",
        "kind": "device",
        "setting": "gpu fp16",
        "conditions": "50 runs",
        "sample": "invocations' medians",
        "samples_ms": (20.0, 21.0, 19.5),
        "latency_ms": 20.0,
        "facts": {"p95": "22.00", "runs": "150 in 3"},
        "curve": tuple(Moment(2.0 * i, 20.0 + i, 30.0 + i / 10) for i in range(20)),
        "operators": (
            OperatorTime(kind="CONV_2D", name="y" * 200, mean_ms=9.5, calls=1, percent=80.0),
            OperatorTime(kind="ADD", name="z", mean_ms=0.5, calls=2, percent=20.0),
        ),
        "log": "x" * 400,
    }
    return Measurement(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_whole_run_from_the_device_to_the_page(
    adb_server: AdbServer,
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record, page = tmp_path / "r.json", tmp_path / "r.html"
    began_s = processor_seconds()
    with (
        FakeDevice(heat=Heat(per_run_celsius=0.3), lists_flags=True) as device,
        FakeDevice(model="Other", speed=Speed(gpu_ms=40)) as other,
    ):
        for one in (device, other):
            adb_server.connect(one)
        words = ["--serial", device.serial, "--serial", other.serial, "--sustained", 0.03]
        ran = bench(*words, "--check", "--repeats", 2, "-o", record)
        assert ran.status == 0, ran.err
        assert is_clean(device)
        assert is_clean(other)
    made = run_here(monkeypatch, capsys, "bench", "report", record, "-o", page)
    assert made.status == 0, made.err
    # On an idle machine the run takes less than 20 s; a busy one says nothing of the program.
    assert processor_seconds() - began_s < 20
    text = page.read_text()
    for words in ("Fake Fake Phone 9", "Fake Other", "gpu fp16", "Fakecomm FK9000", "test card"):
        assert words in text, words
    assert text.count("<svg") == 3  # the distributions and two curves
    assert "Inference timings in us" in text  # the raw log
    compared = run_here(monkeypatch, capsys, "bench", "compare", record, record)
    assert compared.status == 0, compared.err
    assert "no difference shown" in compared.out


def test_a_failure_is_on_the_page_with_the_tools_output(
    adb_server: AdbServer,
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record, page = tmp_path / "r.json", tmp_path / "r.html"
    with FakeDevice({Fault.PARTIAL_DELEGATION}) as device:
        adb_server.connect(device)
        words = ["--delegate", "gpu", "--delegate", "xnnpack", "-o", record]
        assert bench(*words).status == 1
    assert run_here(monkeypatch, capsys, "bench", "report", record, "-o", page).status == 0
    text = page.read_text()
    assert "Without a result" in text
    assert "partially executed by the delegate" in text


def test_nothing_that_a_record_says_becomes_markup() -> None:
    operator = OperatorTime(kind=HOSTILE, name=HOSTILE, mean_ms=1.0, calls=1, percent=100.0)
    told = {"file": HOSTILE, "device": HOSTILE, "setting": HOSTILE, "log": HOSTILE}
    hostile = measured(**told, notes=(HOSTILE,), operators=(operator,))
    sheet = Sheet(
        HOSTILE,
        {HOSTILE: HOSTILE},
        [hostile],
        {HOSTILE: {HOSTILE: HOSTILE}},
        [(HOSTILE, HOSTILE)],
        [HOSTILE],
    )
    page = render([sheet])
    assert "<script" not in page
    assert "<img" not in page
    assert html.escape("<script>alert(1)</script>") in page
    assert not {"\x1b", "\u202e"} & set(page)
    assert not re.search(r'(?:src|href)="', page)


def test_software_devices_have_a_list_of_their_own() -> None:
    software = measured(kind="software device", device="SwiftShader", curve=())
    page = render([Sheet("t", {}, [measured(curve=()), software])])
    real, _, rest = page.partition("<h2>Software devices</h2>")
    assert "SwiftShader" not in real
    assert "not to be compared" in rest


def test_no_record_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, page = tmp_path / "bad.json", tmp_path / "r.html"
    bad.write_text("{}")
    run_here(monkeypatch, capsys, "bench", "report", bad, "-o", page).fails_alone("bad.json")
    assert not page.exists()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_it_without_sideways_scrolling(tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs Chromium")
    long = {"fingerprint": "maker/device/code:14/ABCDEFGH.123456.789/98765432:user/release-keys"}
    names = ("p90", "p95", "mean", "std", "min", "max", "first", "init cold", "init warm")
    facts = dict.fromkeys([*names, "peak MB", "frames/s", "runs"], "13673.41")
    results = [measured(), measured(device="Other (serial)", curve=(), facts=facts)]
    page = render([Sheet("r.json", long, results, {"Device": long}, [("failed", "y" * 300)])])
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body data-seen=""><iframe style="border:0;width:{width}px;height:900px" '
        f'srcdoc="{html.escape(page)}" onload="for (const d of '
        f"this.contentDocument.querySelectorAll('details')) d.open = true; "
        "const e = this.contentDocument.documentElement; "
        "document.body.dataset.seen = e.scrollWidth + ' ' + e.clientWidth + ' ' + "
        "this.contentDocument.querySelectorAll('svg').length + ' ' + "
        "[...this.contentDocument.querySelectorAll('.scroll')]"
        '.filter(s => s.scrollWidth > s.clientWidth).length"></iframe>'
    )
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", frame.as_uri()]
    done = subprocess.run([browser, *words], capture_output=True, text=True, timeout=120)
    seen = re.search(r'data-seen="(\d+) (\d+) (\d+) (\d+)"', done.stdout)
    assert seen is not None, done.stderr
    wide, visible, images, scrolled = map(int, seen.groups())
    assert images == 2
    # On a telephone the two charts scroll in their boxes, and no table does.
    assert scrolled == (2 if width == 360 else 0)
    assert 0 < wide <= visible
