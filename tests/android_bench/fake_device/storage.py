"""The device's files, in a private folder of the host, and how paths get there and back."""

import contextlib
import re
from pathlib import Path

#: Where a shell on a device may write.
WRITABLE = "/data/local/tmp"
#: Top folders of the device. The processes' own folders of /proc are the host's.
_MAPPED = r"(?:data|sys|sdcard|storage|system|vendor|proc(?!/(?:\d|self|\$|\*)))"
_NOT_WITHIN_A_WORD = r"(?<![\w.}/])"
_PHONE_PATH = re.compile(_NOT_WITHIN_A_WORD + rf"/(?={_MAPPED}(?:/|\b))")
_REDIRECTION_INTO_DATA = re.compile(r"(>>?\s*['\"]?)/data/")
_HARMLESS = {"dev", "proc", "data", "sys", "sdcard", "storage", "system", "vendor"}


class Storage:
    """Maps the device's paths to files below a folder of the host.

    Attributes:
        root: That folder; its path has no characters that a shell would interpret.
        read_only: Whether /data refuses to be written.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root, self.read_only = root, read_only
        self.host(WRITABLE).mkdir(parents=True)

    def host(self, path: str) -> Path:
        """The host's file behind a path of the device; `..` does not lead out."""
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        return self.root.joinpath(*parts)

    def write(self, path: str, content: str | bytes) -> None:
        """Put a file there, with the folders above it."""
        target = self.host(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def files(self) -> list[str]:
        """What lies below /data/local/tmp, in order; folders end in a slash."""
        found = self.host(WRITABLE).rglob("*")
        return sorted(
            f"/{path.relative_to(self.root)}" + ("/" if path.is_dir() else "") for path in found
        )

    def used_bytes(self) -> int:
        """How much the files below /data/local/tmp take."""
        total = 0
        for path in self.host(WRITABLE).rglob("*"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    def to_host(self, text: str) -> str:
        """A shell command in which the device's paths are the host's."""
        if self.read_only:  # a folder that is not there: the host's root may write anywhere
            text = _REDIRECTION_INTO_DATA.sub(r"\1/data/read-only-file-system/", text)
        return _PHONE_PATH.sub(f"{self.root}/", text)

    def to_device(self, text: str) -> str:
        """The reverse, for words that a program of the device was given."""
        return text.replace(str(self.root), "")

    def strays(self, command: str) -> list[str]:
        """Paths in a command that lead to the host's own files, where no device's shell has any."""
        names = {path.name for path in Path("/").iterdir()} - _HARMLESS
        pattern = rf"{_NOT_WITHIN_A_WORD}/(?:{'|'.join(map(re.escape, names))})(?![\w-])\S*"
        return re.findall(pattern, command)

    def programs(self) -> set[str]:
        """Names of the files below /data that are native programs."""
        found: set[str] = set()
        for path in self.host("/data").rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and path.open("rb").read(4) == b"\x7fELF":
                    found.add(path.name)
        return found


def with_launcher(command: str, programs: set[str], launcher: str) -> str:
    """A command in which each of these programs, where it is started, stands behind the launcher.

    The host cannot run them: the launcher emulates them. A program is taken as started where flags
    follow its name.
    """
    if not programs:
        return command
    names = "|".join(re.escape(name) for name in sorted(programs))
    started = re.compile(rf"(?<![^\s;&|(])([^\s;&|()<>=]*(?<![\w.-])(?:{names})['\"]?)(?=\s+--)")

    def insert(found: re.Match[str]) -> str:
        word = found.group(1)
        if word[0] in "'\"" and word.count(word[0]) == 1:  # the quote began a whole command
            return f"{word[0]}{launcher} {word[1:]}"
        return f"{launcher} {word}"

    return started.sub(insert, command)


class HidesRoot:
    """Turns the host's paths in a stream of output back into the device's."""

    def __init__(self, root: Path) -> None:
        self._root = str(root).encode()
        self._held = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What may be passed on now: the beginning of a path waits for its rest."""
        text = (self._held + data).replace(self._root, b"")
        keep = 0
        if not last:
            longest = min(len(text), len(self._root) - 1)
            keep = next((n for n in range(longest, 0, -1) if self._root.startswith(text[-n:])), 0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]
