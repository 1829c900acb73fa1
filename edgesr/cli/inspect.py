"""`edgesr inspect`: what is in a `.tflite`, and whether a mobile GPU accepts it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edgesr.cli.support.lines import print_line
from edgesr.common.text import printable
from edgesr.errors import ModelFileError

if TYPE_CHECKING:
    from converters.gpu.audit import OperatorFacts
    from converters.manifest import Manifest
    from edgesr import Audit

_MIB = 2**20
_SHAPES_SHOWN = 4


@click.command(
    epilog="""\b
Examples:
  edgesr inspect imdn-rtc_x2_720x480_fp16.tflite
  edgesr inspect model.tflite --json
  edgesr inspect model.tflite --require-gpu && adb push model.tflite /data/local/tmp
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout.")
@click.option(
    "--manifest", "show_manifest", is_flag=True, help="Show the manifest beside FILE in full."
)
@click.option(
    "--require-gpu", is_flag=True, help="Exit with status 1 if the GPU delegate refuses anything."
)
def command(*, file: Path, as_json: bool, show_manifest: bool, require_gpu: bool) -> None:
    """Show what is in FILE, a .tflite: operators, memory, facts, and the GPU's verdict.

    Nothing is run, so a file that edgesr did not make gets a caution. The manifest that `edgesr
    convert` writes beside its files is compared with FILE. The exit status is 0 whenever FILE could
    be read, unless --require-gpu is given.
    """
    import edgesr

    found = edgesr.inspect(file)
    beside = _manifest_beside(file)
    if show_manifest and beside.manifest is None:
        raise ModelFileError(beside.state)
    if as_json:
        _print_json(found, beside)
    else:
        _print(found, beside, full=show_manifest)
    if require_gpu and found.refused:
        click.get_current_context().exit(1)


@dataclass(frozen=True)
class _Beside:
    """The manifest beside a file.

    Attributes:
        manifest: The manifest, if there is a readable one.
        matches: Whether it is the record of this very file.
        state: The same as a sentence.
    """

    manifest: "Manifest | None"
    matches: bool
    state: str


def _manifest_beside(file: Path) -> _Beside:
    import hashlib

    from converters.manifest import manifest_path, read_manifest

    path = manifest_path(file)
    if not path.is_file():
        return _Beside(None, False, f"no manifest {path.name} beside {file.name}")
    try:
        manifest = read_manifest(path)
    except ModelFileError as error:
        return _Beside(None, False, str(error))
    if hashlib.sha256(file.read_bytes()).hexdigest() == manifest.sha256:
        return _Beside(manifest, True, f"{path.name} is the record of this file (sha256 matches)")
    problem = "its sha256 is another, its figures do not count here"
    return _Beside(manifest, False, f"{path.name} belongs to a different file: {problem}")


def _print_json(found: "Audit", beside: _Beside) -> None:
    from edgesr.cli.support import printing as report

    record = beside.manifest.model_dump(mode="json") if beside.manifest else None
    manifest = {"state": beside.state, "matches": beside.matches, "content": record}
    report.as_json({**found.to_json(), "manifest": manifest})


def _print(found: "Audit", beside: _Beside, *, full: bool) -> None:
    for name, value in _header(found):
        print_line(f"{name:<12}{value}")
    _print_operators(found)
    _print_facts(found)
    print_line(f"manifest    {beside.state}")
    if full and beside.manifest is not None:
        for line in beside.manifest.to_json().splitlines():
            print_line(line)
    _print_verdict(found)


def _header(found: "Audit") -> Iterator[tuple[str, str]]:
    """The lines at the top: file, tensors, scale, weights, work, memory."""
    yield "file", f"{found.file}  {_size(found.size_bytes)}"
    if found.description:
        yield "description", found.description
    for kind, tensors in (("input", found.inputs), ("output", found.outputs)):
        for tensor in tensors:
            yield kind, f"{tensor.name} {list(tensor.shape)} {tensor.dtype}"
    stand_in = ""
    if any(tensor.is_open for tensor in found.inputs):
        stand_in = " at the stand-in size that the file holds"
        yield "scale", "not known: the size of the input is open (-1)"
    elif found.scale is not None:
        yield "scale", f"x{found.scale}"
    else:
        yield "scale", f"not a super-resolution model: {found.not_sr}"
    for signature in found.signatures:
        names = f"{', '.join(signature.inputs)} -> {', '.join(signature.outputs)}"
        yield "signature", f"{signature.key}: {names}"
    if found.graphs > 1:
        yield "graphs", f"{found.graphs}; what follows is about the first"
    kinds = ", ".join(f"{name} {_size(size)}" for name, size in found.constant_bytes.items())
    yield "weights", f"{found.parameters:,} parameters; constants: {kinds or 'none'}"
    yield "work", f"{found.macs / 1e9:.4g} G multiply-accumulates per run{stand_in}"
    whole, half = found.peak_activation_bytes, found.peak_activation_bytes_fp16
    yield "memory", f"peak activations {_size(whole)}, {_size(half)} in FP16{stand_in}"


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / _MIB:.1f} MiB" if count >= _MIB else f"{count / 1024:.1f} KiB"


def _print_operators(found: "Audit") -> None:
    """One row for each kind of operator, with the shapes that it makes."""
    from edgesr.cli.support.tables import make_table, print_table

    table = make_table()
    table.add_column("operator", no_wrap=True)
    table.add_column("count", justify="right")
    table.add_column("output shapes")
    kinds = Counter(operator.name for operator in found.operators)
    for name, count in kinds.most_common():
        table.add_row(name, str(count), _shapes(name, found.operators))
    print_table(table)


def _shapes(name: str, operators: "tuple[OperatorFacts, ...]") -> str:
    """The shapes that one kind of operator makes, the most frequent first."""
    made = Counter(shape for o in operators if o.name == name for shape in o.outputs)
    shown = [
        "x".join(map(str, shape)) + (f" ({count})" if count > 1 else "")
        for shape, count in made.most_common(_SHAPES_SHOWN)
    ]
    rest = len(made) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _print_facts(found: "Audit") -> None:
    """The metadata entries, edgesr's own one field by field."""
    from edgesr.tflite.facts import FACTS_ENTRY

    for name, text in found.metadata.items():
        if name == FACTS_ENTRY and found.facts is not None:
            print_line(f"{name}:")
            for key, value in found.facts.items():
                print_line(f"  {_fact(key):<18}{_fact(value)}")
        else:
            print_line(f"{name}: {text}")


def _fact(value: object) -> str:
    text = str(value)
    if isinstance(value, dict):
        text = ", ".join(f"{k} {v}" for k, v in cast(dict[str, object], value).items())
    if isinstance(value, list):
        text = ", ".join(map(str, cast(list[object], value)))
    return printable(text)


def _print_verdict(found: "Audit") -> None:
    """One line for each kind of operator, each violation, and the verdict last."""
    print_line()
    kinds = Counter(operator.name for operator in found.operators)
    refused = Counter({o.operator_index: o.operator for o in found.refused}.values())
    for name, count in kinds.items():
        if refused[name]:
            print_line(f"refused  {name}: {refused[name]} of {count}")
        else:
            print_line(f"accepted {name}: all {count}")
    for violation in found.refused:
        print_line(f"refused  {violation}")
    for violation in found.cautions:
        print_line(f"caution  {violation}")
    if found.caveat is not None:
        print_line(f"caution  {found.caveat}")
    print_line(found.verdict)
