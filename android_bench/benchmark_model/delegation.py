"""Delegates in a log, and proof that the requested one ran everything.

benchmark_model ends with status 0 also where a delegate took half of the graph or nothing, and the
CPU computed the rest: only the log tells.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from android_bench.benchmark_model.command import Delegate, GpuBackend, Setting

Extent = Literal["completely", "partially", "not"]

_REPLACED = re.compile(
    r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(([^()]+)\) node, "
    r"yielding (\d+) partitions?\b.*"
)
_APPLIED = re.compile(
    r"Explicitly applied (\S+) delegate, and the model graph will be (completely|partially) "
    r"executed by the delegate.*"
)
_NOT_APPLIED = re.compile(
    r"Though (\S+) delegate is explicitly applied, the model graph will not be executed "
    r"by the delegate.*"
)
_API = re.compile(r"Initialized (OpenCL|OpenGL)-based API( from serialized data)?\.")
_DISALLOWED = "Disallowed CPU fallback detected."

#: What the classic tool calls a delegate.
_APPLIED_NAMES = {Delegate.XNNPACK: "XNNPACK", Delegate.GPU: "GPU", Delegate.NNAPI: "NNAPI"}
#: What the delegates call themselves, in either tool.
_OWN_NAMES = {
    Delegate.XNNPACK: re.compile(r"TfLiteXNNPackDelegate"),
    Delegate.GPU: re.compile(r"TfLiteGpuDelegate\w*|LITERT_(?:CL|GL|OPENGL|WEBGPU|VULKAN)"),
    Delegate.NNAPI: re.compile(r"TfLiteNnapiDelegate"),
}
_APIS = {GpuBackend.CL: "OpenCL", GpuBackend.GL: "OpenGL"}


@dataclass(frozen=True)
class Replacement:
    """A delegate took nodes of a subgraph.

    Attributes:
        delegate: What it calls itself.
        nodes: How many it took.
        of_nodes: How many there were.
        partitions: Into how many pieces the graph fell.
    """

    delegate: str
    nodes: int
    of_nodes: int
    partitions: int


@dataclass(frozen=True)
class Delegation:
    """Delegates that a log names, and the nodes that they replaced.

    Attributes:
        replacements: In the order of the log.
        applied: Delegate, as the classic tool calls it, and how much of the graph it runs.
        api: OpenCL or OpenGL, where a GPU delegate says so.
        from_cache: Whether the GPU's kernels came from a cache of an earlier run.
    """

    replacements: tuple[Replacement, ...] = ()
    applied: tuple[tuple[str, Extent], ...] = ()
    api: str | None = None
    from_cache: bool = False


def parse_delegation(texts: Sequence[str]) -> Delegation:
    """Collect what a log, given as lines without prefixes, says of delegates."""
    replacements: list[Replacement] = []
    applied: list[tuple[str, Extent]] = []
    api, from_cache = None, False
    for text in texts:
        if match := _REPLACED.fullmatch(text):
            nodes, of_nodes, partitions = (int(match[i]) for i in (1, 2, 4))
            replacements.append(Replacement(match[3], nodes, of_nodes, partitions))
        elif match := _APPLIED.fullmatch(text):
            applied.append((match[1], "completely" if match[2] == "completely" else "partially"))
        elif match := _NOT_APPLIED.fullmatch(text):
            applied.append((match[1], "not"))
        elif match := _API.fullmatch(text):
            api, from_cache = match[1], from_cache or match[2] is not None
        elif text.startswith("Initialized InferenceContext from serialized data"):
            from_cache = True
    return Delegation(tuple(replacements), tuple(applied), api, from_cache)


def not_proven(setting: Setting, delegation: Delegation) -> str | None:
    """Reason why a log does not prove full delegation, or None.

    Proof is the classic tool's sentence that the graph is completely executed by the delegate, or
    a replacement of all nodes by it. Whatever else took a node disproves it.
    """
    if setting.delegate is Delegate.CPU:
        return _third_party(setting.delegate, delegation)
    name, own = _APPLIED_NAMES[setting.delegate], _OWN_NAMES[setting.delegate]
    mine = [r for r in delegation.replacements if own.fullmatch(r.delegate)]
    extents = {extent for called, extent in delegation.applied if called == name}
    if "not" in extents:
        return f"the {name} delegate was applied and took no operator; the CPU computed all of it"
    if "partially" in extents or any(r.nodes != r.of_nodes for r in mine):
        return _partial(name, mine)
    if (third_party := _third_party(setting.delegate, delegation)) is not None:
        return third_party
    if not extents and not mine:
        return f"the log does not say that the {name} delegate computed anything"
    return _other_api(setting, delegation)


def _third_party(delegate: Delegate, delegation: Delegation) -> str | None:
    """Find a delegate other than the requested one that replaced nodes."""
    for replacement in delegation.replacements:
        own = _OWN_NAMES.get(delegate)
        if replacement.nodes and not (own and own.fullmatch(replacement.delegate)):
            return (
                f"{replacement.delegate} took {replacement.nodes} of {replacement.of_nodes} nodes, "
                f"and {delegate} was requested"
            )
    for called, extent in delegation.applied:
        if extent != "not" and called != _APPLIED_NAMES.get(delegate):
            return f"the {called} delegate was applied, and {delegate} was requested"
    return None


def _partial(name: str, mine: Sequence[Replacement]) -> str:
    taken = [r for r in mine if r.nodes != r.of_nodes]
    share = f" {taken[0].nodes} of {taken[0].of_nodes} nodes" if taken else " only a part"
    return f"the {name} delegate took{share} of the graph; the CPU computed the rest"


def _other_api(setting: Setting, delegation: Delegation) -> str | None:
    if setting.gpu_backend is None:
        return None
    wanted = _APIS[setting.gpu_backend]
    got = delegation.api or _api_by_name(delegation)
    if got != wanted:
        return f"{wanted} was requested, and the log names {got or 'none'}"
    return None


def _api_by_name(delegation: Delegation) -> str | None:
    """LiteRT's accelerators have the API in their name."""
    names = {r.delegate for r in delegation.replacements}
    if "LITERT_CL" in names:
        return "OpenCL"
    return "OpenGL" if names & {"LITERT_GL", "LITERT_OPENGL"} else None
