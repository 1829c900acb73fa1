"""Writing and printing the records of `edgesr bench`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgesr.cli.support.printing import as_json as print_json
from edgesr.common.files import atomic_outputs
from edgesr.report.benchmark_records import AnyRecord


def output_record(
    record: AnyRecord,
    *,
    as_json: bool,
    output: Path | None,
    force: bool,
    inputs: Sequence[Path],
    print_table: Callable[[], None],
) -> None:
    """Write a record to a file, and print it.

    Args:
        record: The results.
        as_json: Whether to print it as JSON instead of for people.
        output: The file; None for none.
        force: Whether to replace a file that exists.
        inputs: What was measured and read; none of it is replaced.
        print_table: Prints it for people.

    Raises:
        OutputError: The file cannot be written.
    """
    text = record.model_dump_json(indent=2)
    if output is not None:
        with atomic_outputs([output], overwrite=force, inputs=inputs) as (part,):
            part.write_text(f"{text}\n")
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        print_table()
