"""Records of `edgesr bench`, read from files."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from android_bench.record import BenchRecord
from android_bench.results import contradiction_on_devices, measurements_on_devices
from edgesr.benchmark.browser import (
    BrowserRecord,
    BrowserRecordError,
    measurements_in_browser,
    parse_browser_record,
)
from edgesr.benchmark.record import HostRecord
from edgesr.benchmark.results import Measurement, contradiction_on_host, measurements_on_host
from edgesr.benchmark.summary import implausible
from edgesr.common.inputs import read_regular
from edgesr.common.record import first_problem
from edgesr.common.text import shorten
from edgesr.errors import EdgeSRError

AnyRecord = BenchRecord | HostRecord | BrowserRecord

#: A record holds the logs of all invocations; hundreds of them are far below this.
_MOST_BYTES = 256 * 2**20


class RecordFileError(EdgeSRError):
    """A file is no record of `edgesr bench`."""


def read_record(path: Path) -> AnyRecord:
    """Read a record of any kind: of devices, of this host or of a browser.

    Raises:
        RecordFileError: The file is unreadable, no record, or contradicts itself.
    """
    made = "make one with `edgesr bench FILE... -o`"
    content = read_regular(path, RecordFileError, limit=_MOST_BYTES)
    try:
        # As text: JSON may be in other encodings, a record is not.
        value = json.loads(content.decode("utf-8"))
        kind = value["on"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordFileError(f"{path} is no record of `edgesr bench`; {made}") from error
    models: dict[str, type[AnyRecord]] = {
        "android": BenchRecord,
        "browser": BrowserRecord,
        "host": HostRecord,
    }
    if not isinstance(kind, str) or kind not in models:
        raise RecordFileError(
            f"{path} is a record on {str(kind)[:40]!r}, allowed {', '.join(models)}"
        )
    found = implausible(value)
    if found is not None:
        raise RecordFileError(f"{path} is damaged: {found}; {made}")
    try:
        if kind == "browser":
            return parse_browser_record(content)
        record = models[kind].model_validate_json(content, strict=True)
    except BrowserRecordError as error:
        raise RecordFileError(f"{path} is damaged: {error}; {made}") from error
    except ValidationError as error:
        raise RecordFileError(f"{path} is damaged: {first_problem(error)}; {made}") from error
    found = None
    if isinstance(record, BenchRecord):
        found = contradiction_on_devices(record)
    elif isinstance(record, HostRecord):
        found = contradiction_on_host(record)
    if found is not None:
        raise RecordFileError(f"{path} contradicts itself: {found}; {made}")
    return record


def _measurements(record: AnyRecord) -> Iterator[Measurement]:
    if isinstance(record, BenchRecord):
        return measurements_on_devices(record)
    if isinstance(record, BrowserRecord):
        return measurements_in_browser(record)
    return measurements_on_host(record)


def results(record: AnyRecord, path: Path) -> list[Measurement]:
    """Every measured file, runtime and setting of a record.

    Raises:
        RecordFileError: A result is of a file or a device that the record does not describe, or
            has a latency that cannot be.
    """
    try:
        found = list(_measurements(record))
    except KeyError as error:
        raise RecordFileError(
            f"{path} has a result of {shorten(str(error))}, and says no more of it"
        ) from error
    for one in found:
        values = [*one.samples_ms, one.latency_ms, *(moment.latency_ms for moment in one.curve)]
        if not one.samples_ms or not all(math.isfinite(v) and v > 0 for v in values):
            raise RecordFileError(f"{path}: {one.name} has no latencies that can be; measure again")
    return found
