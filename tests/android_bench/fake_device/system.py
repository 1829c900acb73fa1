"""What the device says of itself: properties, processor, memory, battery, temperatures, space."""

import shutil
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from .storage import Storage

_TOOLS = Path(__file__).parent / "tools"
#: The host's tools that a command may use as they are.
_PLAIN = [
    "awk",
    "basename",
    "cat",
    "cmp",
    "cut",
    "date",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "grep",
    "head",
    "ls",
    "md5sum",
    "nohup",
    "od",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "sed",
    "seq",
    "setsid",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "test",
    "timeout",
    "tr",
    "true",
    "uniq",
    "wc",
    "xargs",
]
_GUARDED = [
    "chmod",
    "cp",
    "dd",
    "find",
    "ln",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "rmdir",
    "tee",
    "touch",
]
_OTHER_NAMES = {"ps": ("pidof", "pgrep"), "id": ("whoami",), "fake_kill": ("kill",)}
#: e_machine of ELF files, as in elf.h.
MACHINES = {"arm64-v8a": 183, "armeabi-v7a": 40, "x86_64": 62}
_UNAMES = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv8l", "x86_64": "x86_64"}

_SLOW_CORES, _FAST_CORES = range(0, 4), range(4, 8)
_SLOW_KHZ, _FAST_KHZ = 1_804_800, 2_803_200


@dataclass
class Heat:
    """Temperatures, which runs raise and time lowers.

    Attributes:
        celsius: Of battery and skin, now.
        per_run_celsius: How much one run of benchmark_model adds.
        cooling_celsius_s: How much one second without a run takes away.
        cooling_celsius_command: How much each command of the shell takes away once it has begun:
            a device that cools without a clock, however slow this machine is.
        ambient_celsius: It does not get cooler.
        steps_celsius: Where thermal status 1, 2, 3 ... begin.
    """

    celsius: float = 29.0
    per_run_celsius: float = 0.0
    cooling_celsius_s: float = 0.0
    cooling_celsius_command: float = 0.0
    ambient_celsius: float = 29.0
    steps_celsius: tuple[float, ...] = (36.0, 39.0, 42.0, 45.0, 50.0, 55.0)
    _since: float = field(default_factory=time.monotonic)

    def cool(self) -> None:
        """Let the time pass that has passed."""
        now = time.monotonic()
        self.lose((now - self._since) * self.cooling_celsius_s)
        self._since = now

    def lose(self, celsius: float) -> None:
        """Get cooler."""
        self.celsius = max(self.ambient_celsius, self.celsius - celsius)

    def run(self) -> None:
        """One run."""
        self.cool()
        self.celsius += self.per_run_celsius

    @property
    def status(self) -> int:
        """Android's thermal status: 0 none, 1 light, 2 moderate, 3 severe ..."""
        return sum(self.celsius >= step for step in self.steps_celsius)

    @property
    def slowdown(self) -> float:
        """How many times as long a run takes, from moderate on."""
        return 1.0 + 0.25 * max(0, self.status - 1)


def default_properties(model: str, abi: str) -> dict[str, str]:
    """The properties of a device that nobody makes."""
    abis = {"arm64-v8a": "arm64-v8a,armeabi-v7a,armeabi"}.get(abi, abi)
    return {
        "ro.build.fingerprint": "fake/fake_prod/fakedev:14/FAKE.240101.001/1:user/release-keys",
        "ro.build.version.release": "14",
        "ro.build.version.sdk": "34",
        "ro.hardware": "fakeboard",
        "ro.board.platform": "fakeboard",
        "ro.product.cpu.abi": abi,
        "ro.product.cpu.abilist": abis,
        "ro.product.device": "fakedev",
        "ro.product.manufacturer": "Fake",
        "ro.product.model": model,
        "ro.product.name": "fake_prod",
        "ro.soc.manufacturer": "Fakecomm",
        "ro.soc.model": "FK9000",
        "sys.boot_completed": "1",
    }


class System:
    """Keeps the files up to date from which the device's commands read.

    Attributes:
        storage: The device's own files.
        properties: What getprop says.
        heat: Its temperatures.
        free_kib: What df says is free on /data while nothing lies there.
    """

    def __init__(
        self,
        base: Path,
        *,
        properties: dict[str, str],
        heat: Heat,
        free_kib: int,
        read_only: bool,
        thermal_service: bool,
    ) -> None:
        self.storage = Storage(base / "root", read_only=read_only)
        self.properties, self.heat, self.free_kib = properties, heat, free_kib
        self._thermal_service = thermal_service
        self._state, self._host_tools = base / "state", base / "host_tools"
        self._state.mkdir()
        self._host_tools.mkdir()
        if read_only:
            (self._state / "read_only").touch()
        self._install_tools()
        self.boot()

    @property
    def abi(self) -> str:
        """The processor's kind, e.g. arm64-v8a."""
        return self.properties["ro.product.cpu.abi"]

    def environment(self) -> dict[str, str]:
        """What the device's commands find in their environment."""
        root = self.storage.root
        return {
            "PATH": f"{root}/system/bin",
            "HOME": "/",
            "USER": "shell",
            "TMPDIR": f"{root}/data/local/tmp",
            "LC_ALL": "C",
            "FAKE_ROOT": str(root),
            "FAKE_STATE": str(self._state),
            "FAKE_HOST_TOOLS": str(self._host_tools),
            "FAKE_MACHINE": str(MACHINES[self.abi]),
            "FAKE_UNAME": _UNAMES[self.abi],
        }

    def boot(self) -> None:
        """A new boot id, and the clock of /proc/uptime starts anew."""
        self._booted = time.monotonic()
        self.storage.write("/proc/sys/kernel/random/boot_id", f"{uuid.uuid4()}\n")
        self._write_processor()
        self.refresh()

    def refresh(self) -> None:
        """Write what has changed since."""
        self.heat.cool()
        up = time.monotonic() - self._booted + 100
        self.storage.write("/proc/uptime", f"{up:.2f} {up * 7:.2f}\n")
        lines = [f"{name}={value}\n" for name, value in sorted(self.properties.items())]
        self._say("properties", "".join(lines))
        self._say("df", self._df())
        self._say("dumpsys.battery", _battery(self.heat))
        if self._thermal_service:
            self._say("dumpsys.thermalservice", _thermal_service(self.heat))
        limit = int(_FAST_KHZ / self.heat.slowdown)
        for core in _FAST_CORES:
            folder = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
            self.storage.write(f"{folder}/scaling_max_freq", f"{limit}\n")
            self.storage.write(f"{folder}/scaling_cur_freq", f"{limit}\n")
        self.heat.lose(self.heat.cooling_celsius_command)

    def _say(self, name: str, text: str) -> None:
        partial = self._state / f".{name}"  # a command may read at this moment
        partial.write_text(text)
        partial.replace(self._state / name)

    def _df(self) -> str:
        total, used = 111_234_560, self.storage.used_bytes() // 1024
        free = max(0, self.free_kib - used)
        share = round(100 * (total - free) / total)
        return (
            "Filesystem       1K-blocks     Used Available Use% Mounted on\n"
            f"/dev/block/dm-55 {total} {total - free} {free}  {share}% /data\n"
        )

    def _install_tools(self) -> None:
        folder = self.storage.host("/system/bin")
        folder.mkdir(parents=True)
        for script in _TOOLS.glob("*.sh"):
            names = _GUARDED if script.stem == "guarded" else [script.stem]
            for name in (*names, *_OTHER_NAMES.get(script.stem, ())):
                shutil.copyfile(script, folder / name)
                (folder / name).chmod(0o755)
        for names, target in ((_PLAIN, folder), (_GUARDED, self._host_tools)):
            for name in names:
                if found := shutil.which(name, path="/usr/bin:/bin"):
                    (target / name).symlink_to(found)
        (folder / "sh").symlink_to("/bin/sh")

    def _write_processor(self) -> None:
        put = self.storage.write
        cpu = "/sys/devices/system/cpu"
        for name in ("possible", "present", "online"):
            put(f"{cpu}/{name}", "0-7\n")
        for cores, khz, capacity in ((_SLOW_CORES, _SLOW_KHZ, 325), (_FAST_CORES, _FAST_KHZ, 1024)):
            together = " ".join(map(str, cores))
            put(f"{cpu}/cpufreq/policy{cores[0]}/related_cpus", f"{together}\n")
            put(f"{cpu}/cpufreq/policy{cores[0]}/cpuinfo_max_freq", f"{khz}\n")
            for core in cores:
                put(f"{cpu}/cpu{core}/cpu_capacity", f"{capacity}\n")
                for name in ("cpuinfo_max_freq", "scaling_max_freq", "scaling_cur_freq"):
                    put(f"{cpu}/cpu{core}/cpufreq/{name}", f"{khz}\n")
                put(f"{cpu}/cpu{core}/cpufreq/scaling_governor", "walt\n")
        memory = (
            "MemTotal:       11550464",
            "MemFree:         1200312",
            "MemAvailable:    6412340",
        )
        put("/proc/meminfo", "".join(f"{line} kB\n" for line in memory))
        put("/proc/cpuinfo", "".join(f"processor\t: {core}\n\n" for core in range(8)))
        put("/proc/version", "Linux version 5.15.123-android13-8\n")
        put("/proc/loadavg", "0.42 0.40 0.38 1/3021 4711\n")


def _battery(heat: Heat) -> str:
    return (
        "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n"
        "  Wireless powered: false\n  Max charging current: 500000\n  Charge counter: 3100000\n"
        "  status: 2\n  health: 2\n  present: true\n  level: 84\n  scale: 100\n  voltage: 4063\n"
        f"  temperature: {round(heat.celsius * 10)}\n  technology: Li-ion\n"
    )


def _thermal_service(heat: Heat) -> str:
    sensors = ((0, "AP", 6.0), (2, "BAT", 0.0), (3, "SKIN", 1.5))

    def temperatures(mark: int) -> str:
        return "".join(
            f"\tTemperature{{mValue={heat.celsius + above:.1f}, mType={kind}, mName={name}, "
            f"mStatus={mark if name == 'SKIN' else 0}}}\n"
            for kind, name, above in sensors
        )

    return (
        "IsStatusOverride: false\nThermalEventListeners:\n\tcallbacks: 1\n\tkilled: false\n"
        "\tbroadcasts count: -1\nThermalStatusListeners:\n\tcallbacks: 1\n\tkilled: false\n"
        f"\tbroadcasts count: -1\nThermal Status: {heat.status}\n"
        f"Cached temperatures:\n{temperatures(heat.status)}"
        "HAL Ready: true\nHAL connection:\n\tThermalHAL 2.0 connected: yes\n"
        f"Current temperatures from HAL:\n{temperatures(heat.status)}"
        "Current cooling devices from HAL:\n\tCoolingDevice{mValue=0, mType=1, mName=fan}\n"
    )
