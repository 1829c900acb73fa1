"""Judges how a command ended: what a bad input must never do, each with its kind."""

import re
from collections.abc import Callable
from pathlib import Path

from fuzz.case import Case, Ended

_LONGEST_LINE = 400
_NOT_OURS = "no line of ours"
_ALLOWED_LINES = re.compile(r"edgesr: |Usage: |Try '|$|    |Commands:|Options:|[ \[]")
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
#: Words of Python and of libraries that help no user.
_LEAKED = re.compile(
    r"\b[A-Z]\w*(?:Error|Exception|Warning)\b|weights_only|Field required|unpack_from|<class '"
    r"| object at 0x|NoneType|validation error|pydantic|\.py\b.*line \d"
)
_OUR_FRAME = re.compile(
    r'File "[^"]*/((?:edgesr|converters|android_bench)/[^"]+)", line (\d+), in (\S+)'
)
#: Folders that onnxruntime and torch make wherever temporary files go.
_OF_LIBRARIES = (".ses", "torchinductor_")
_TEMPORARY = re.compile(r"(^|/)\.[^/]*\.(part|old)|(^|/)(tmp|\.lock)")


def findings(case: Case, ended: Ended, folder: Path) -> list[tuple[str, str]]:
    """What is wrong with how a command ended: kind, and in a line what exactly.

    Args:
        case: What was run.
        ended: How it ended.
        folder: Its working folder, as it left it.
    """
    out, err = ended.out.decode(errors="replace"), ended.err.decode(errors="replace")
    found: list[tuple[str, str]] = []
    sent = case.signal[0] if case.signal else 0
    where = _innermost(out + err) if "Traceback (most recent call last)" in out + err else ""
    # A signal before `main` is called: Python's own start cannot be kept from its words.
    starting = sent and (_is_before_main(err) or "Python error: init_import_site" in err)
    if where and not starting:
        found.append(("traceback", where))
    if ended.timed_out:
        found.append(("hang", f"ended after {ended.seconds:.0f} s"))
    elif ended.status < 0 and ended.status != -sent:
        found.append(("signal", f"{-ended.status} after {ended.seconds:.0f} s"))
    elif ended.logs:
        found.append(("unexpected error", _innermost(ended.logs)))
    elif ended.status not in (0, 1, 2, 128 + sent, -sent) and not found:
        found.append(("status", f"{ended.status}: {_last_line(err)}"))
    if ended.left_processes:
        found.append(("process left", "processes of the command went on after its end"))
    found += _files(case, ended)
    found += _text(case, ended, out, err) if not (found or starting) else []
    if ended.status == 0 and case.check is not None:
        found += [("wrong result", text) for text in _checked(case.check, folder, out)]
    return found


def _checked(check: Callable[[Path, str], list[str]], folder: Path, out: str) -> list[str]:
    try:
        return check(folder, out)
    except Exception as error:  # of whatever kind: the command made what it cannot read
        return [f"the result cannot be read: {type(error).__name__}: {error}"]


def _files(case: Case, ended: Ended) -> list[tuple[str, str]]:
    """Inputs that changed, outputs of a command that failed, temporary files."""
    found: list[tuple[str, str]] = []
    changed = [n for n, content in case.files.items() if ended.files.get(n) != content[: 1 << 20]]
    if changed and not case.no_folder:
        found.append(("input changed", ", ".join(changed)))
    made = sorted(set(ended.files) - set(case.files))
    if ended.status != 0 and not case.may_write:
        left = made
    else:
        left = [name for name in made if _TEMPORARY.search(name)]
    left += [name for name in ended.temporary if not name.startswith(_OF_LIBRARIES)]
    if left:
        found.append(("files left", f"status {ended.status}: {', '.join(left[:5])}"))
    return found


def _text(case: Case, ended: Ended, out: str, err: str) -> list[tuple[str, str]]:
    """Errors that are none or several lines, long, unprintable, or in a library's words."""
    found: list[tuple[str, str]] = []
    lines = err.split("\n")
    errors = [line for line in lines if line.startswith("edgesr: error")]
    if ended.status in (1, 2) and case.signal is None and len(errors) != 1:
        found.append(("error lines", f"{len(errors)}: {_last_line(err)!r}"))
    strange = [line for line in lines if not _ALLOWED_LINES.match(line)]
    if strange:
        found.append(("strange line", repr(strange[0][:200])))
    longest = max((len(line) for line in lines), default=0)
    if longest > _LONGEST_LINE + 2 * sum(map(len, case.words)):
        found.append(("long line", f"{longest} characters: {max(lines, key=len)[:200]!r}"))
    for name, text in (("stdout", out), ("stderr", err)):
        if control := _CONTROL.search(text):
            around = text[max(0, control.start() - 40) : control.end() + 20]
            found.append(("control character", f"on {name}: {around!r}"))
    if leaked := next((line for line in errors if _LEAKED.search(line)), None):
        found.append(("python words", leaked[:300]))
    return found


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(nothing)"


def _is_before_main(text: str) -> bool:
    """Whether a KeyboardInterrupt met Python's start, or the import of the two first packages."""
    frames = _OUR_FRAME.findall(text)
    return _last_line(text) == "KeyboardInterrupt" and all(
        place in ("edgesr/__init__.py", "edgesr/cli/__init__.py") and function == "<module>"
        for place, _, function in frames
    )


def _innermost(text: str) -> str:
    """The error at the end of a traceback, and the innermost line of this project in it."""
    ours = _OUR_FRAME.findall(text)
    where = f"{ours[-1][0]}:{ours[-1][1]}" if ours else _NOT_OURS
    return f"{_last_line(text)[:200]} at {where}"
