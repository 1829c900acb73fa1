import pytest

from android_bench.benchmark_model.command import Delegate, GpuBackend, Setting
from android_bench.benchmark_model.delegation import not_proven
from android_bench.benchmark_model.parse import parse_log
from edgesr.runtime.precision import ComputePrecision
from helpers.tool_logs import FULL_GPU, LITERT, NO_GPU, PART_GPU, REPLACED, classic

CPU = Setting(Delegate.CPU, ComputePrecision.FP32, threads=1)
XNNPACK = Setting(Delegate.XNNPACK, ComputePrecision.FP32, threads=4)
GPU = Setting(Delegate.GPU, ComputePrecision.FP16)
GPU_CL = Setting(Delegate.GPU, ComputePrecision.FP16, GpuBackend.CL)
GPU_GL = Setting(Delegate.GPU, ComputePrecision.FP16, GpuBackend.GL)
NNAPI = Setting(Delegate.NNAPI, ComputePrecision.FP16)

CL = "Initialized OpenCL-based API."
CL_CACHED = "Initialized OpenCL-based API from serialized data."
ON_CPU = (
    "Replacing 41 out of 41 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 "
    "partitions for the whole graph."
)
HALF = REPLACED.replace("Replacing 41", "Replacing 21")
OLD_END = REPLACED.split(" for subgraph")[0] + "."
FULL_XNNPACK = FULL_GPU.replace("GPU", "XNNPACK")
FULL_NNAPI = FULL_GPU.replace("GPU", "NNAPI")

PROVEN = {
    "the sentence and the replacement": (GPU, (REPLACED, FULL_GPU)),
    "the sentence alone": (GPU, (FULL_GPU,)),
    "the replacement alone": (GPU, (REPLACED,)),
    "an older replacement": (GPU, (OLD_END,)),
    "the backend asked for": (GPU_CL, (REPLACED, CL, FULL_GPU)),
    "the backend from a cache": (GPU_CL, (REPLACED, CL_CACHED, FULL_GPU)),
    "XNNPACK": (XNNPACK, (ON_CPU, FULL_XNNPACK)),
    "NNAPI": (NNAPI, (FULL_NNAPI,)),
    "plain CPU": (CPU, ()),
}
DISPROVEN = {
    "nothing said": (GPU, (), "does not say that the GPU delegate computed"),
    "taken in part": (GPU, (HALF, PART_GPU), "21 of 41 nodes"),
    "taken in part, sentence alone": (GPU, (PART_GPU,), "only a part"),
    "half replaced and yet called complete": (GPU, (HALF, FULL_GPU), "21 of 41 nodes"),
    "silent fall-back": (GPU, (NO_GPU,), "took no operator"),
    "silent fall-back to XNNPACK": (GPU, (NO_GPU, ON_CPU), "took no operator"),
    "XNNPACK beside the GPU": (GPU, (FULL_GPU, ON_CPU), "TfLiteXNNPackDelegate took 41 of 41"),
    "another delegate": (GPU, (ON_CPU,), "TfLiteXNNPackDelegate took"),
    "XNNPACK on the plain CPU": (CPU, (ON_CPU,), "TfLiteXNNPackDelegate took"),
    "a GPU for XNNPACK": (XNNPACK, (REPLACED, FULL_GPU), "TfLiteGpuDelegateV2 took"),
    "a GPU for NNAPI, by its sentence": (NNAPI, (FULL_GPU,), "GPU delegate was applied"),
    "another backend": (GPU_GL, (REPLACED, CL, FULL_GPU), "OpenGL was requested.*OpenCL"),
    "no word of the backend": (GPU_GL, (REPLACED, FULL_GPU), "OpenGL was requested.*none"),
}


@pytest.mark.parametrize(("setting", "lines"), PROVEN.values(), ids=PROVEN.keys())
def test_what_proves_that_the_delegate_ran_everything(
    setting: Setting, lines: tuple[str, ...]
) -> None:
    assert not_proven(setting, parse_log(classic(delegation=lines)).delegation) is None


@pytest.mark.parametrize(("setting", "lines", "why"), DISPROVEN.values(), ids=DISPROVEN.keys())
def test_what_does_not(setting: Setting, lines: tuple[str, ...], why: str) -> None:
    reason = not_proven(setting, parse_log(classic(delegation=lines)).delegation)
    assert reason is not None
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(reason)


def test_the_litert_tool_proves_itself_by_its_accelerators_name() -> None:
    delegation = parse_log(LITERT).delegation
    assert not_proven(GPU, delegation) is None
    assert not_proven(GPU_CL, delegation) is None
    assert "OpenGL was requested" in (not_proven(GPU_GL, delegation) or "")


def test_a_kernel_cache_that_was_read_is_seen() -> None:
    assert parse_log(classic(delegation=(REPLACED, CL_CACHED))).delegation.from_cache
    assert not parse_log(classic(delegation=(REPLACED, CL))).delegation.from_cache
