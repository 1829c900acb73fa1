"""`import edgesr`: what it offers, and that it loads nothing before it is needed."""

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import edgesr

_INIT = Path(edgesr.__file__)
_HEAVY = ("numpy", "torch", "PIL", "pydantic", "click", "onnx", "ai_edge_litert")


def _imported_for_type_checkers() -> set[str]:
    tree = ast.parse(_INIT.read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {a.name for node in block.body if isinstance(node, ast.ImportFrom) for a in node.names}


def test_importing_it_loads_no_library() -> None:
    code = f"import sys, edgesr; print(*sorted(set({_HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_can_be_loaded_and_is_listed() -> None:
    assert set(edgesr.__all__) <= set(dir(edgesr))
    for name in edgesr.__all__:
        assert getattr(edgesr, name) is not None


def test_type_checkers_see_what_is_loaded_at_run_time() -> None:
    assert _imported_for_type_checkers() | {"__version__"} == set(edgesr.__all__)
    for name in edgesr.__all__:
        if callable(value := getattr(edgesr, name)):
            assert value.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'enlarge'"):
        edgesr.enlarge  # type: ignore  # noqa: B018


def _documented() -> dict[str, object]:
    """Every public function and method, by the name that a user calls it by."""
    loaded = {name: getattr(edgesr, name) for name in edgesr.__all__}
    found = {name: v for name, v in loaded.items() if callable(v) and not isinstance(v, type)}
    return {**found, "Model.upscale": edgesr.Model.upscale,
            "Model.upscale_files": edgesr.Model.upscale_files}  # fmt: skip


_CONVERTS = ("convert", "verify")  # they load TensorFlow
_NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name in _CONVERTS else ())
    for name in _documented()
]


@pytest.mark.parametrize("name", _NAMES)
def test_the_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESR_SHARED", raising=False)
    (found,) = doctest.DocTestFinder(recurse=False).find(_documented()[name], name, globs={})
    assert found.examples, f"edgesr.{name} shows no example"
    failures: list[str] = []
    doctest.DocTestRunner().run(found, out=failures.append)
    assert not failures, "".join(failures)
