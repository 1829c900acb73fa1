"""README and docs as tests read them: headings, links, code spans, commands, Python blocks."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Every document for readers, below the repository's root.
DOCUMENTS = tuple(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "tflite_models/README.md", "training_runs/*.md")
    for path in sorted(ROOT.glob(pattern))
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Document:
    """One Markdown file.

    Attributes:
        path: The file.
        text: Its content.
    """

    path: Path
    text: str

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return _BLOCK.sub("", self.text)

    @property
    def links(self) -> list[str]:
        """Targets of links and images, as written."""
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """Anchors of the headings, as GitHub and MkDocs make them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
        return {re.sub(r"[ -]+", "-", heading.strip()) for heading in plain}

    @property
    def spans(self) -> list[str]:
        """Code spans of the prose."""
        return [" ".join(span.split()) for span in _SPAN.findall(self.prose)]

    @property
    def commands(self) -> list[list[str]]:
        """The words of each line of shell blocks, comments left out."""
        lines = (line for block in self.blocks("sh") for line in block.splitlines())
        words = (shlex.split(line, comments=True) for line in lines)
        found = [line for line in words if line]
        return [part for line in found for part in _parts(line)]

    def blocks(self, language: str) -> list[str]:
        """Code blocks of a language."""
        return [code for name, code in _BLOCK.findall(self.text) if name == language]


def read_document(name: str) -> Document:
    """Read a document by its path below the root."""
    return Document(ROOT / name, (ROOT / name).read_text())


def _parts(words: list[str]) -> list[list[str]]:
    """The commands of a line that joins them with `&&`."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts
