"""What a record says of a phone: what it is, how it was, which benchmark_model it ran."""

from android_bench.command import Flavour
from edgesr.benching.record import Record


class Health(Record):
    """How a phone is at one moment; None where it does not say.

    Attributes:
        at: Time on this host, UTC, ISO 8601.
        thermal_status: Android's: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, ...
        battery_celsius: Temperature of the battery.
        battery_percent: Its charge.
        plugged: Whether it is being fed, by USB too.
        temperatures: Sensor -> degrees Celsius.
        max_khz: What each CPU may clock at the most now.
        memory_available_kib: Memory that programs can have.
        boot_id: Changes when the phone reboots.
    """

    at: str
    thermal_status: int | None
    battery_celsius: float | None
    battery_percent: int | None
    plugged: bool | None
    temperatures: dict[str, float]
    max_khz: tuple[int | None, ...]
    memory_available_kib: int | None
    boot_id: str


class DeviceFacts(Record):
    """A phone.

    Attributes:
        serial: Serial number, or address and port.
        manufacturer: Who made it.
        model: Its name.
        device: Its code name.
        soc: Manufacturer and model of the chip; of the board where Android is older than 12.
        android: Version.
        sdk: API level.
        fingerprint: Of the system's build.
        abis: What programs it runs, the preferred kind first.
        memory_kib: Memory in all.
        cpu_khz: Highest clock of each CPU by design.
        kernel: Version of the kernel.
    """

    serial: str
    manufacturer: str
    model: str
    device: str
    soc: str
    android: str
    sdk: int | None
    fingerprint: str
    abis: tuple[str, ...]
    memory_kib: int | None
    cpu_khz: tuple[int | None, ...]
    kernel: str


class ToolFacts(Record):
    """The benchmark_model that a phone ran.

    Attributes:
        sha256: Digest of the program.
        size_bytes: Its size.
        abi: What it was built for.
        source: Its file name, or the address it was fetched from.
        flavour: Which of the two tools it is.
    """

    sha256: str
    size_bytes: int
    abi: str
    source: str
    flavour: Flavour


class DeviceRecord(Record):
    """A phone that was measured on.

    Attributes:
        facts: What it is.
        tool: What it ran.
        free_kib: Space where files are pushed to, before any was.
        before: Before anything ran.
        after: After everything ran.
    """

    facts: DeviceFacts
    tool: ToolFacts
    free_kib: int
    before: Health
    after: Health
