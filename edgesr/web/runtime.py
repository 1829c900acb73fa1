"""LiteRT.js, the runtime of the page: fetched once from the npm registry, then out of the cache.

Apache-2.0, https://github.com/google-ai-edge/LiteRT. Nothing of it is part of edgesr.
"""

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import DownloadError
from edgesr.weights.download import fetch

#: npm's own variable for a mirror.
REGISTRY_VARIABLE = "npm_config_registry"
_REGISTRY = "https://registry.npmjs.org"
_VERSION = "2.5.3"
_PACKAGE = "package/"


@dataclass(frozen=True)
class _Package:
    """A package of npm: its name below @litertjs, its tarball's digest, which files go where."""

    name: str
    sha256: str
    files: dict[str, str]

    @property
    def filename(self) -> str:
        return f"{self.name}-{_VERSION}.tgz"


_WASM = tuple(
    f"wasm/litert_wasm_{kind}internal.{ending}"
    for kind in ("", "threaded_", "compat_")
    for ending in ("js", "wasm")
)
_PACKAGES = (
    _Package(
        "core",
        "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
        {"dist/index.js": "index.js"} | {name: name for name in _WASM},
    ),
    _Package(
        "wasm-utils",
        "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7",
        {"dist/index.js": "wasm-utils.js"},
    ),
)
RUNTIME_NAME = f"@litertjs/core {_VERSION}"


def runtime_files(
    cache_dir: Path | None = None, progress: ProgressCallback = silent
) -> dict[str, bytes]:
    """The runtime's files by their path below the page's folder `runtime/`.

    Args:
        cache_dir: The cache; that of downloaded weights by default.
        progress: Told of a download.

    Raises:
        DownloadError: It is not in the cache, and the registry cannot be reached or has another
            file than the pinned one.
    """
    found: dict[str, bytes] = {}
    for package in _PACKAGES:
        found |= _unpacked(package, _fetched(package, cache_dir, progress))
    # Import maps do not reach workers: the one bare import becomes a relative one.
    index = found["index.js"]
    bare = b'from "@litertjs/wasm-utils"'
    if index.count(bare) != 1:
        raise DownloadError(f"{RUNTIME_NAME} does not import @litertjs/wasm-utils as expected")
    found["index.js"] = index.replace(bare, b'from "./wasm-utils.js"')
    return found


def _fetched(package: _Package, cache_dir: Path | None, progress: ProgressCallback) -> Path:
    registry = (os.environ.get(REGISTRY_VARIABLE) or _REGISTRY).rstrip("/")
    url = f"{registry}/@litertjs/{package.name}/-/{package.filename}"
    if not registry.startswith(("https://", "http://")):
        raise DownloadError(
            f"got {REGISTRY_VARIABLE}={registry}, allowed an address that begins with https://"
        )
    filename = f"litertjs-{package.filename}"
    try:
        return fetch(url, package.sha256, filename, cache_dir, progress)
    except DownloadError as error:
        cause = str(error).partition("; check the connection")[0]
        raise DownloadError(
            f"{cause}; check the connection, or set {REGISTRY_VARIABLE} to a mirror of npm"
        ) from error


def _unpacked(package: _Package, archive: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            target = package.files.get(member.name.removeprefix(_PACKAGE))
            if target is not None and (content := members.extractfile(member)) is not None:
                found[target] = content.read()
    if missing := set(package.files.values()) - set(found):
        raise DownloadError(f"{archive} lacks {', '.join(sorted(missing))}; remove it")
    return found
