"""Which libraries a module may load when it is imported: what a fast start depends on.

The borders between packages are import-linter's (pyproject.toml), which does not tell an import at
the top of a module from one inside a function.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_PACKAGES = ("edgesr", "converters", "android_bench", "tools")
_HEAVY = {"torch", "tensorflow", "onnx", "onnx2tf", "onnxruntime", "tf_keras", "safetensors"}
#: May load torch at import: they are made of it, and only what needs torch imports them.
_MADE_OF_TORCH = (
    "edgesr/networks/architectures/",
    "edgesr/networks/reparam.py",
    "edgesr/training/",
    "converters/int8/",
)
#: Work on ONNX graphs; the commands import them inside the function that needs them.
_MADE_OF_ONNX = (
    "converters/onnx_graph/graph.py",
    "converters/onnx_graph/calibration.py",
    "converters/onnx_graph/ends.py",
    "converters/onnx_graph/export.py",
    "converters/onnx_graph/float64.py",
    "converters/onnx_graph/half_precision.py",
    "converters/onnx_graph/native.py",
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
