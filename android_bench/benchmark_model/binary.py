"""The benchmark_model to push: its ABI, its sha256, its download."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from android_bench.errors import BinaryError
from edgesr.common.files import atomic_outputs
from edgesr.common.progress import ProgressCallback, silent
from edgesr.weights.download import cache_folder, file_sha256, receive

#: TensorFlow's nightly build. It has no version: what was fetched once is kept, and its digest
#: stands in every record.
NIGHTLY = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest"
)
_NAMES = {
    "arm64-v8a": "android_aarch64_benchmark_model",
    "armeabi-v7a": "android_arm_benchmark_model",
}
# e_machine of ELF's header (elf.h) -> Android's name.
_MACHINES = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86"}
_MACHINE_AT = 18
_HEAD_BYTES = 8192
# A program for desktop Linux names its loader; Android's is /system/bin/linker64.
_LINUX_LOADERS = (b"/lib/ld-", b"/lib64/ld-")


@dataclass(frozen=True)
class Binary:
    """A program for Android.

    Attributes:
        path: Where it lies here.
        abi: What it was built for.
        sha256: Its digest.
        size_bytes: Its size.
        source: Its file name, or the address it was fetched from.
    """

    path: Path
    abi: str
    sha256: str
    size_bytes: int
    source: str


def read_binary(path: Path, source: str | None = None) -> Binary:
    """Look at a benchmark_model before it is pushed.

    Raises:
        BinaryError: It is missing, no program, or none for Android.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        size_bytes = path.stat().st_size
    except OSError as error:
        raise BinaryError(f"cannot read {path}: {error.strerror or error}") from error
    if head[:4] != b"\x7fELF" or len(head) < _MACHINE_AT + 2:
        raise BinaryError(
            f"{path} is no Android program (it begins with {head[:8]!r}); pass benchmark_model, "
            f"e.g. {NIGHTLY}/{_NAMES['arm64-v8a']}"
        )
    machine = struct.unpack_from("<H", head, _MACHINE_AT)[0]
    abi = _MACHINES.get(machine)
    if abi is None:
        raise BinaryError(
            f"{path} is for machine {machine}, allowed {', '.join(_MACHINES.values())}"
        )
    if any(loader in head for loader in _LINUX_LOADERS):
        raise BinaryError(
            f"{path} is built for Linux, not for Android; pass android_aarch64_benchmark_model"
        )
    return Binary(path, abi, file_sha256(path), size_bytes, source or path.name)


def check_abi(binary: Binary, abis: tuple[str, ...], serial: str) -> None:
    """Refuse a program that the device cannot run.

    Raises:
        BinaryError: It is for another processor.
    """
    if binary.abi not in abis:
        raise BinaryError(
            f"{binary.path} is for {binary.abi}, {serial} runs {', '.join(abis) or 'nothing known'}"
            "; pass a benchmark_model for it with --binary"
        )


def fetch_binary(
    abi: str,
    *,
    base: str = NIGHTLY,
    cache_dir: Path | None = None,
    progress: ProgressCallback = silent,
) -> Binary:
    """TensorFlow's benchmark_model, fetched once and then kept.

    Nothing says what the file at that address should be, so its digest is noted when it is
    fetched, and checked whenever it is used.

    Args:
        abi: What the device prefers.
        base: Address of the folder it lies in.
        cache_dir: Where to keep it; `edgesr.weights.download.cache_folder()` by default.
        progress: Called with the bytes got and the bytes in all (0: unknown).

    Raises:
        BinaryError: There is none for that processor, what was fetched is no program for it, or
            has changed since.
        DownloadError: It cannot be fetched.
        OutputError: The cache cannot be written.
    """
    name = _NAMES.get(abi)
    if name is None:
        raise BinaryError(
            f"no benchmark_model is published for {abi}, allowed {', '.join(_NAMES)}; build one "
            "and pass it with --binary"
        )
    folder = cache_folder() if cache_dir is None else cache_dir
    path, note = folder / name, folder / f"{name}.json"
    if not (path.is_file() and note.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(f"{base}/{name}", path, note, progress)
    noted = json.loads(note.read_text())
    binary = read_binary(path, noted["url"])
    if binary.sha256 != noted["sha256"]:
        raise BinaryError(
            f"{path} has sha256 {binary.sha256}, and had {noted['sha256']} when it was fetched; "
            "remove it to fetch it again"
        )
    return binary


def _fetch(url: str, path: Path, note: Path, progress: ProgressCallback) -> None:
    with atomic_outputs([path, note], overwrite=True) as (part, part_note):
        receive(url, part, path.name, progress, option="--binary FILE")
        binary = read_binary(part, url)  # an error page is no program
        part_note.write_text(json.dumps({"url": url, "sha256": binary.sha256}))
