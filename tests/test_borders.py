"""The borders between packages, and which libraries a module may load when it is imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("edgesr", "converters", "android_bench")
_HEAVY = {"torch", "tensorflow", "onnx", "onnx2tf", "onnxruntime", "tf_keras", "safetensors"}
#: May load torch at import: they are made of it, and only what needs torch imports them.
_MADE_OF_TORCH = ("edgesr/archs/", "edgesr/reparam.py", "edgesr/train/")
#: Work on ONNX graphs; the commands import them inside the function that needs them.
_MADE_OF_ONNX = (
    "converters/graph.py",
    "converters/calibrate.py",
    "converters/fp16_rounding.py",
    "converters/onnx_export.py",
    "converters/passes/",
)

_FILES = sorted(
    path.relative_to(_ROOT).as_posix() for p in _PACKAGES for path in (_ROOT / p).rglob("*.py")
)


def _imports(nodes: Iterator[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement that runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _at_import(node)


def _tree(file: str) -> ast.Module:
    return ast.parse((_ROOT / file).read_text())


def _top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("file", _FILES)
def test_a_package_imports_nothing_above_it(file: str) -> None:
    everywhere = _imports(ast.walk(_tree(file)))
    if file.startswith("edgesr/cli/"):
        return
    assert not [name for name in everywhere if name.startswith("edgesr.cli")]
    if file.startswith("edgesr/"):
        assert not _top(everywhere) & {"converters", "android_bench"}
    if file.startswith("android_bench/"):
        assert not _top(everywhere) & {"converters", "torch", "tensorflow"}
    if file.startswith("converters/"):
        assert "android_bench" not in _top(everywhere)


@pytest.mark.parametrize("file", _FILES)
def test_heavy_libraries_are_imported_where_they_are_needed(file: str) -> None:
    allowed: set[str] = set()
    if file.startswith(_MADE_OF_TORCH):
        allowed = {"torch"}
    elif file.startswith(_MADE_OF_ONNX):
        allowed = {"onnx"}
    loaded = _top(_imports(_at_import(_tree(file)))) & _HEAVY
    assert loaded <= allowed, f"{file} loads {sorted(loaded - allowed)} when it is imported"


def test_the_walk_sees_imports_inside_conditions_but_not_inside_functions() -> None:
    tree = ast.parse(
        "import a\nif x:\n    import b\ndef f():\n    import c\n"
        "class K:\n    import d\nif TYPE_CHECKING:\n    import e\n"
    )
    assert _imports(_at_import(tree)) == {"a", "b", "d"}
