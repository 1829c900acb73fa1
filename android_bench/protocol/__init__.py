"""Named protocols in files, so that scores of devices are comparable.

As AI Benchmark does it (Ignatov et al., AI Benchmark: All About Deep Learning on Smartphones in
2019), a score is the weighted sum of inverse latencies, each in relation to a reference time; the
reference times lie in the protocol.
"""

import hashlib
import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from android_bench.benchmark_model.command import Delegate, GpuBackend, Load, Setting
from android_bench.device.cooldown import Cooldown
from android_bench.errors import SettingError
from android_bench.plan import Plan
from android_bench.record import BenchRecord, ProtocolFacts, Score, SectionScore
from edgesr.common.compat import tomllib
from edgesr.common.inputs import read_regular
from edgesr.common.record import Record, first_problem
from edgesr.runtime.precision import ComputePrecision

FORMULA = "100 * sum(weight * reference_ms / latency_ms) / sum(weight)"

_MOST_BYTES = 2**20

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class Section(Record):
    """One setting, and what it counts.

    Attributes:
        name: What to call it.
        delegate: What computes.
        precision: In what.
        gpu_backend: For the GPU: exactly this; left out, the delegate chooses.
        threads: CPU threads, where those compute.
        weight: How much it counts.
        reference_ms: The latency that gives 100 points.
    """

    name: str
    delegate: Delegate
    precision: ComputePrecision
    gpu_backend: GpuBackend | None = None
    threads: _Count | None = None
    weight: _Positive
    reference_ms: _Positive

    def setting(self) -> Setting:
        """The delegate, precision and threads that this section asks for.

        Raises:
            SettingError: It contradicts itself.
        """
        return Setting(self.delegate, self.precision, self.gpu_backend, self.threads)


class Protocol(Record):
    """What is measured on a phone, how often, and how it is scored.

    Attributes:
        name: Its name; another version has another.
        description: What it is for.
        on: Where files run.
        runs: Runs of one invocation.
        warm_up_runs: Runs before.
        repeats: Invocations of each section.
        cool_down_s: How long a warm device is waited for.
        cool_battery_celsius: A warmer battery is waited for.
        pinned: Whether the program is kept to the fastest cores.
        sections: What is measured.
    """

    name: str
    description: str
    on: Literal["android"]
    runs: _Count
    warm_up_runs: Annotated[int, Field(ge=0)]
    repeats: _Count
    cool_down_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    cool_battery_celsius: Annotated[float, Field(ge=0, le=60)]
    pinned: bool
    sections: Annotated[tuple[Section, ...], Field(min_length=1)]

    def plan(
        self, *, limit_s: float, sustained_s: float | None = None, profile: bool = False
    ) -> Plan:
        """Lay out what is run on a phone: settings, repetitions, pauses.

        Args:
            limit_s: Time limit of one invocation.
            sustained_s: Duration of the sustained mode, which no score counts.
            profile: Whether to measure what each operator takes, which no score counts either.

        Raises:
            SettingError: A section contradicts itself, or two are the same.
        """
        settings = tuple(section.setting() for section in self.sections)
        if len(set(settings)) < len(settings):
            raise SettingError(f"protocol {self.name} has two sections of one setting; merge them")
        return Plan(
            settings=settings,
            load=Load(runs=self.runs, warm_up_runs=self.warm_up_runs, max_secs=limit_s / 3),
            repeats=self.repeats,
            pinned=self.pinned,
            cooldown=Cooldown(battery_celsius=self.cool_battery_celsius, limit_s=self.cool_down_s),
            limit_s=limit_s,
            sustained_s=sustained_s,
            profile=profile,
        )


def protocol_names() -> list[str]:
    """Those in the package."""
    folder = importlib.resources.files(__name__)
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def load_protocol(name: str) -> tuple[Protocol, str]:
    """A protocol and the sha256 of its file.

    Args:
        name: One of `protocol_names()`, or the path of a TOML file.

    Raises:
        SettingError: There is none of that name, or the file is none.
    """
    if name in protocol_names():
        content = importlib.resources.files(__name__).joinpath(f"{name}.toml").read_bytes()
    elif not name.endswith(".toml"):
        known = ", ".join(protocol_names())
        raise SettingError(f"no protocol {name}, allowed {known}, or the path of a .toml file")
    else:
        content = read_regular(Path(name), SettingError, limit=_MOST_BYTES)
    try:
        values = tomllib.loads(content.decode())
        return Protocol.model_validate(values), hashlib.sha256(content).hexdigest()
    except UnicodeDecodeError as error:
        raise SettingError(f"{name} is no text in UTF-8; write it as TOML") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingError(f"{name} is no TOML file: {str(error)[:200]}") from error
    except ValidationError as error:
        raise SettingError(f"{name} is no protocol: {first_problem(error)}") from error


def scored(record: BenchRecord, protocol: Protocol, sha256: str) -> BenchRecord:
    """Add the protocol and its scores to a record."""
    facts = ProtocolFacts(
        name=protocol.name,
        description=protocol.description,
        sha256=sha256,
        formula=FORMULA,
    )
    scores = [
        _score(record, protocol.sections, device.facts.serial, file.name)
        for device in record.devices
        for file in record.files
    ]
    return record.model_copy(update={"protocol": facts, "scores": tuple(scores)})


def _score(record: BenchRecord, sections: Sequence[Section], device: str, file: str) -> Score:
    latencies = {
        case.setting: case.summary.latency_ms
        for case in record.cases
        if (case.device, case.file) == (device, file)
    }
    found = tuple(
        SectionScore(
            name=section.name,
            setting=section.setting(),
            weight=section.weight,
            reference_ms=section.reference_ms,
            latency_ms=latency,
            points=None if latency is None else 100 * section.reference_ms / latency,
        )
        for section in sections
        for latency in [latencies.get(section.setting())]
    )
    points = [(s.weight, s.points) for s in found if s.points is not None]
    total = None
    if len(points) == len(found):
        total = sum(weight * value for weight, value in points) / sum(s.weight for s in found)
    return Score(device=device, file=file, points=total, sections=found)
