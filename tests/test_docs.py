"""README and docs: links lead somewhere, named files exist, commands and options are accepted.

`test_docs_run.py` runs them.
"""

import importlib.util
import re
from collections.abc import Iterator

import click
import pytest
import tomllib

from edgesr.cli.app import cli
from helpers.documents import DOCUMENTS, ROOT, read_document

_TOP = {path.name for path in ROOT.iterdir()}
#: Named in the documents, made by commands or by readers.
_NOT_HERE = ("src/main/assets/",)
#: Options of other programs, or of scripts below benchmarks/.
_OTHER_OPTIONS = {"--render", "--only", "--print", "--help"}
#: Programs of the system, whose arguments are theirs.
_OF_THE_SYSTEM = {"git", "cd", "apt-get"}

every_document = pytest.mark.parametrize("name", DOCUMENTS)


def _leaves(command: click.Command, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that is not a group, with the words that call it."""
    if not isinstance(command, click.Group):
        yield names, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _leaves(found, *names, name)


_COMMANDS = dict(_leaves(cli))


def _options(command: click.Command) -> set[str]:
    found = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    return found | {"--help", "-h"}


def _parse(words: list[str]) -> None:
    """Parse a command as a shell gives it, without running it.

    Raises:
        click.ClickException: The command does not accept it.
    """
    assert words[0] == "edgesr"
    context, command = click.Context(cli), cli
    for depth, word in enumerate(words[1:], 2):
        found = command.get_command(context, word) if isinstance(command, click.Group) else None
        if found is None:
            raise click.UsageError(f"no command {word!r}")
        if not isinstance(found, click.Group):
            found.make_context(word, words[depth:])
            return
        command = found
    raise click.UsageError("no command")


@every_document
def test_links_lead_to_files_and_headings(name: str) -> None:
    document = read_document(name)
    dead = []
    for link in document.links:
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        path = (document.path.parent / target).resolve() if target else document.path
        if not path.exists():
            dead.append(f"{link}: no file {path}")
        elif anchor and anchor not in read_document(path.relative_to(ROOT).as_posix()).anchors:
            dead.append(f"{link}: no heading of that name")
    assert not dead


@every_document
def test_paths_in_code_spans_exist(name: str) -> None:
    words = [word for span in read_document(name).spans for word in span.split()]
    paths = [w for w in words if "/" in w and w.split("/")[0] in _TOP and w not in _NOT_HERE]
    missing = [p for p in paths if not re.search(r"[<{*]", p) and not (ROOT / p).exists()]
    assert not missing


@every_document
def test_commands_of_shell_blocks_are_accepted(name: str) -> None:
    """Parsed with all their options; nothing is run."""
    for words in read_document(name).commands:
        try:
            _check_command(words)
        except click.ClickException as error:
            pytest.fail(f"{' '.join(words)}: {error.format_message()}")


def _check_command(words: list[str]) -> None:
    program, *rest = words
    if program == "edgesr":
        _parse(words)
    elif program == "torchrun":
        _parse(words[words.index("edgesr") :])
    elif program in ("pip", "uv", "pipx"):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = re.findall(r"\[(\w+)\]", " ".join(rest))
        assert set(extras) <= set(project["optional-dependencies"]), words
        assert (ROOT / "constraints.txt").is_file()
    elif program == "make":
        targets = [word for word in rest if "=" not in word]
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets), words
    elif program == "python" and rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]) is not None, words
    elif program == "python":
        assert (ROOT / rest[0]).is_file(), words
    else:
        assert program in _OF_THE_SYSTEM, f"{program}: teach this test what it is"


@every_document
def test_commands_named_in_prose_exist_with_their_options(name: str) -> None:
    for span in read_document(name).spans:
        words = span.split()
        if words[0] != "edgesr" or len(words) == 1 or "|" in span:
            continue
        called = [n for n in _COMMANDS if tuple(words[1 : len(n) + 1]) == n]
        groups = {n[0] for n in _COMMANDS if len(n) > 1}
        assert called or words[1:] == ["--help"] or words[-1] in groups, span
        for word in words:
            if called and word.startswith("-"):
                assert word in _options(_COMMANDS[called[0]]), span


@every_document
def test_options_named_in_prose_exist(name: str) -> None:
    known = {option for command in _COMMANDS.values() for option in _options(command)}
    words = {word for span in read_document(name).spans for word in span.split()}
    named = {word for word in words if re.fullmatch(r"--[a-z][a-z0-9-]+", word)}
    assert named - known - _OTHER_OPTIONS == set()


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def test_every_page_of_docs_is_in_the_sites_navigation() -> None:
    site = (ROOT / "mkdocs.yml").read_text()
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if f": {p.name}\n" not in site]
    assert not missing


def test_every_public_name_is_in_the_api_reference() -> None:
    import edgesr

    listed = re.findall(r"^ +- (\w+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    described_elsewhere = {"EdgeSRError", "__version__", "errors"}
    assert sorted(listed) == sorted(set(edgesr.__all__) - described_elsewhere)


def test_the_image_of_the_layers_is_that_of_import_linter() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    (contract,) = [c for c in tool["importlinter"]["contracts"] if c["type"] == "layers"]
    svg = (ROOT / "docs/images/layers.svg").read_text()
    assert re.findall(r'font-weight="bold"[^>]*>([^<]+)<', svg) == contract["layers"]
