"""Records of `edgesr bench`, of hosts and of phones: given out, and read from files."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import click
from pydantic import ValidationError

from android_bench.measured import of_phones
from android_bench.record import BenchRecord
from edgesr.benching.measured import Measured, of_host
from edgesr.benching.record import HostRecord
from edgesr.errors import EdgeSRError
from edgesr.files import atomic_outputs

AnyRecord = BenchRecord | HostRecord


class RecordFileError(EdgeSRError):
    """A file is no record of `edgesr bench`."""


def give_out(
    record: AnyRecord,
    *,
    as_json: bool,
    output: Path | None,
    force: bool,
    table: Callable[[], None],
) -> None:
    """Write a record to a file, and print it.

    Args:
        record: What was measured.
        as_json: Whether to print it as JSON instead of for people.
        output: The file; None for none.
        force: Whether to replace a file that exists.
        table: Prints it for people.

    Raises:
        OutputError: The file cannot be written.
    """
    text = record.model_dump_json(indent=2)
    if output is not None:
        with atomic_outputs([output], overwrite=force) as (part,):
            part.write_text(f"{text}\n")
    if as_json:
        click.echo(text)
    else:
        table()


def read_record(path: Path) -> AnyRecord:
    """Read a record.

    Raises:
        RecordFileError: The file is unreadable, or no record.
    """
    made = "make one with `edgesr bench FILE... -o`"
    try:
        text = path.read_text()
        kind = json.loads(text)["on"]
    except OSError as error:
        raise RecordFileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordFileError(f"{path} is no record of `edgesr bench`; {made}") from error
    models = {"android": BenchRecord, "host": HostRecord}
    if not isinstance(kind, str) or kind not in models:
        raise RecordFileError(f"{path} is a record on {kind!r}, allowed {', '.join(models)}")
    try:
        return models[kind].model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordFileError(f"{path} is damaged at {where}: {first['msg']}; {made}") from error


def results(record: AnyRecord, path: Path) -> list[Measured]:
    """Every result of it.

    Raises:
        RecordFileError: A result is of a file or a device that the record does not describe, or
            has a latency that cannot be.
    """
    try:
        found = list(of_phones(record) if isinstance(record, BenchRecord) else of_host(record))
    except KeyError as error:
        raise RecordFileError(f"{path} has a result of {error}, and says no more of it") from error
    for one in found:
        values = [*one.samples_ms, one.latency_ms, *(moment.latency_ms for moment in one.curve)]
        if not one.samples_ms or not all(math.isfinite(v) and v > 0 for v in values):
            raise RecordFileError(f"{path}: {one.name} has no latencies that can be; measure again")
    return found
