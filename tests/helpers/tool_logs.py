"""Logs of benchmark_model in every known form, composed from the lines its sources print."""

from collections.abc import Sequence

WARM_UP = "count=4 first=130565 curr=120829 min=117370 max=130565 avg=122373 std=4930"
RUNS = "count=50 first=119212 curr=118055 min=113737 max=124776 avg=119375 std=1948"
RUNS_P = f"{RUNS} p5=114000 median=119400 p95=123000"
FULL_GPU = (
    "Explicitly applied GPU delegate, and the model graph will be completely executed by the "
    "delegate."
)
PART_GPU = (
    "Explicitly applied GPU delegate, and the model graph will be partially executed by the "
    "delegate w/ 3 delegate kernels."
)
NO_GPU = (
    "Though GPU delegate is explicitly applied, the model graph will not be executed by the "
    "delegate."
)
REPLACED = (
    "Replacing 41 out of 41 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 "
    "partitions for subgraph 0 (main)."
)
MEMORY = "Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227"
PEAK = "Overall peak memory footprint (MB) via periodic monitoring: 61.2"


def classic(
    *,
    warm_up: str = WARM_UP,
    runs: str = RUNS_P,
    timings: str | None = None,
    delegation: Sequence[str] = (REPLACED, FULL_GPU),
    prefix: str = "INFO: ",
    more: Sequence[str] = (MEMORY,),
) -> str:
    """A log of the classic tool."""
    announced = "Running benchmark for at least {} iterations and at least {} seconds"
    timings = timings or (
        "Inference timings in us: Init: 870557, First inference: 130565, Warmup (avg): 122373, "
        "Inference (avg): 119375"
    )
    lines = [
        "STARTING!",
        "Log parameter values verbosely: [0]",
        "Min num runs: [50]",
        "Graph: [model.tflite]",
        "Loaded model model.tflite",
        *delegation,
        "The input model file size (MB): 7.07479",
        "Initialized session in 870.557ms.",
        f"{announced.format(1, 0.5)} but terminate if exceeding 150 seconds.",
        warm_up,
        None,
        f"{announced.format(50, 1)} but terminate if exceeding 150 seconds.",
        runs,
        None,
        timings,
        *more,
    ]
    return "".join("\n" if line is None else f"{prefix}{line}\n" for line in lines)


LOGCAT = "05-30 15:16:46.366  3380  3380 I tflite  : "

OLD = classic(
    prefix="",
    runs=RUNS,
    timings="Average inference timings in us: Warmup: 122373, Init: 870557, Inference: 119375",
    more=("Peak memory footprint (MB): init=0 overall=12.8672",),
)

LITERT_BLOCK = """\
INFO: [./litert/tools/benchmark_litert_model.h:81] 
========== BENCHMARK RESULTS ==========
INFO: [./litert/tools/benchmark_litert_model.h:82] Model initialization: 4.48 ms
INFO: [./litert/tools/benchmark_litert_model.h:84] Warmup (first):       1.03 ms
INFO: [./litert/tools/benchmark_litert_model.h:86] Warmup (avg):         0.47 ms (1055 runs)
INFO: [./litert/tools/benchmark_litert_model.h:88] Inference (avg):      0.46 ms (2112 runs)
INFO: [./litert/tools/benchmark_litert_model.h:92] Inference (min):      0.44 ms
INFO: [./litert/tools/benchmark_litert_model.h:94] Inference (max):      0.98 ms
INFO: [./litert/tools/benchmark_litert_model.h:96] Inference (std):      0.01
INFO: [./litert/tools/benchmark_litert_model.h:103] Throughput:           525.55 MB/s
INFO: [./litert/tools/benchmark_litert_model.h:112] 
Memory Usage:
INFO: [./litert/tools/benchmark_litert_model.h:114] Init footprint:       8.94 MB
INFO: [./litert/tools/benchmark_litert_model.h:116] Overall footprint:    11.51 MB
INFO: [./litert/tools/benchmark_litert_model.h:123] Peak memory usage not available.
"""  # noqa: W291 - as the tool prints it

LITERT_REPLACED = (
    "VERBOSE: Replacing 41 out of 41 node(s) with delegate (LITERT_CL) node, yielding 1 "
    "partitions for subgraph 0.\n"
)
LITERT = (
    f"INFO: STARTING!\n{LITERT_REPLACED}"
    "INFO: Initialized session in 4.478ms.\n"
    "INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if "
    "exceeding 150 seconds.\n"
    "INFO: count=1055 first=1033 curr=473 min=443 max=1033 avg=465.319 std=18 p5=459 median=463 "
    "p95=478\n\n"
    "INFO: Running benchmark for at least 1000 iterations and at least 1 seconds but terminate if "
    "exceeding 150 seconds.\n"
    "INFO: count=2112 first=463 curr=459 min=442 max=979 avg=464.545 std=13 p5=460 median=462 "
    f"p95=478\n\n{LITERT_BLOCK}"
)
