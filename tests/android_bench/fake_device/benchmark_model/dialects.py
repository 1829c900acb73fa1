"""The builds of benchmark_model, and how each of them puts a line."""

import enum

#: A step for the stub: stdout or stderr with text, exit or signal with a number; or "event".
Step = tuple[str, str | int]

NODES = 31


class Dialect(enum.StrEnum):
    """Which build of the tool it is."""

    #: `INFO: ` before each line, and percentiles.
    NEW = enum.auto()
    #: The prefix, but no percentiles.
    NO_PERCENTILES = enum.auto()
    #: Until 2022: neither, and the tool's lines bare among the runtime's prefixed ones.
    OLD = enum.auto()
    #: Before that: "Average inference timings in us", no full stop after the initialisation.
    OLDEST = enum.auto()
    #: LiteRT's tool of the same name, with a block of results of its own.
    LITERT = enum.auto()


class Failed(Exception):  # noqa: N818 - the tool's own ending
    """The tool gives up, with these lines before "Benchmarking failed."."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


class Printer:
    """Puts lines as a build of the tool does."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._prefixed = dialect not in (Dialect.OLD, Dialect.OLDEST)
        self.has_percentiles = dialect in (Dialect.NEW, Dialect.LITERT)

    def info(self, text: str, kind: str = "INFO") -> Step:
        """A line of the tool."""
        return "stdout", f"{kind}: {text}\n" if self._prefixed else f"{text}\n"

    def error(self, text: str, kind: str = "ERROR") -> Step:
        """A line of the tool on what went wrong."""
        return "stderr", f"{kind}: {text}\n" if self._prefixed else f"{text}\n"

    def runtime(self, text: str, kind: str = "INFO") -> Step:
        """A line of the runtime's own, which has its prefix in every build."""
        return "stderr", f"{kind}: {text}\n"

    def result(self, line: int, text: str) -> Step:
        """A line of LiteRT's block of results."""
        return "stderr", f"INFO: [./litert/tools/benchmark_litert_model.h:{line}] {text}\n"
