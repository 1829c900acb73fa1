"""Cause of a failure of benchmark_model by its log, and a remedy."""

import re

from android_bench.benchmark_model.parse import split_lines

_SIGNALS = {
    134: "it aborted",
    137: "it was killed, as the system does when memory runs out",
    139: "it crashed",
}
_NOT_RUN = {126: "the device cannot execute it", 127: "the device did not find it"}

# In this order: the first that is found is nearest to the cause.
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"Can not open OpenCL library.*",
        "this device has no OpenCL for programs of the shell; use --gpu-backend gl",
    ),
    (
        r"Didn't find op for builtin opcode.*",
        "this benchmark_model is older than the file; pass a newer one with --binary",
    ),
    (
        r"Select TensorFlow op\(s\), included in the given model.*|Encountered unresolved custom"
        r" op.*",
        "the file has operators that are none of TFLite's; see `edgesr inspect`",
    ),
    (r"Following operations are not supported by GPU delegate:", "see `edgesr inspect`"),
    (
        r"TfLiteGpuDelegate (?:Init|Prepare): .*|OpenGL ES 3\.1 or above is required.*|"
        r"No EGL error.*",
        "this device's GPU delegate does not take it; try the other --gpu-backend",
    ),
    (r"Disallowed CPU fallback detected\.", "the delegate does not take the whole graph"),
    (r"Could not open .*|Failed to load model .*", "the file did not arrive, or is damaged"),
    (r"The size of .* It should be \d+ bytes\.", "the input does not fit the file"),
    (r"Failed to parse flag .*", "this benchmark_model accepts other values"),
)
_REFUSED = re.compile(r"([A-Z][A-Z0-9_]+): (.+)")


def explain_failure(status: int, log: str) -> str:
    """Explain an exit status other than 0 in one line.

    The tool's own words are in it where it left any.

    Args:
        status: The exit status; 128 and a signal's number if it died of that.
        log: What it said.
    """
    lines = split_lines(log if log.endswith("\n") else f"{log}\n")
    how = _SIGNALS.get(status) or _NOT_RUN.get(status) or f"it ended with status {status}"
    for pattern, remedy in _CAUSES:
        for line in lines:
            if re.fullmatch(pattern, line.text):
                refused = refusals(log)
                said = f"{line.text} {refused}" if refused and line.text.endswith(":") else None
                return f"benchmark_model failed: {how}: {said or line.text}; {remedy}"
    said = [line.text for line in lines if line.level in ("ERROR", "FATAL")]
    last = said[0] if said else next((x.text for x in reversed(lines) if x.text.strip()), "")
    return f"benchmark_model failed: {how}{f': {last[:300]}' if last else ' and said nothing'}"


def refusals(log: str) -> str:
    """List the operators that a GPU delegate refuses, with its reasons.

    Empty without any.
    """
    texts = [line.text for line in split_lines(log)]
    found: list[str] = []
    for index, text in enumerate(texts):
        if text.startswith("Following operations are not supported by GPU delegate"):
            for line in texts[index + 1 :]:
                if _REFUSED.fullmatch(line) is None:
                    break
                found.append(line.rstrip("."))
    return "; ".join(dict.fromkeys(found))
