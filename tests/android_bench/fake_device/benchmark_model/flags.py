"""The flags of benchmark_model, as it reads them.

Source: LiteRT, tflite/tools/command_line_flags.cc, tools/benchmark and tools/delegates;
litert/tools/benchmark_litert_model.cc.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

#: Flags with the words by which the log repeats those that were given.
DESCRIPTIONS = {
    "num_runs": "Min num runs",
    "min_secs": "Min runs duration (seconds)",
    "max_secs": "Max runs duration (seconds)",
    "run_delay": "Inter-run delay (seconds)",
    "num_threads": "Num threads",
    "warmup_runs": "Min warmup runs",
    "warmup_min_secs": "Min warmup runs duration (seconds)",
    "graph": "Graph",
    "enable_op_profiling": "Enable op profiling",
    "use_xnnpack": "Use xnnpack",
    "use_gpu": "Use gpu",
    "gpu_precision_loss_allowed": "Allow lower precision in gpu",
    "gpu_backend": "GPU backend",
    "use_nnapi": "Use NNAPI",
}

# Name and default, from which the kind follows: true or false, a number, or text.
_RUN_CONTROL = """
    graph= num_runs=50 min_secs=1 max_secs=150 run_delay=-1 run_frequency=-1 num_threads=-1
    warmup_runs=1 warmup_min_secs=0.5 verbose=false dry_run=false use_caching=false help=false
    report_peak_memory_footprint=false memory_footprint_check_interval_ms=50
    require_full_delegation=false result_file_path= signature_to_run_for=
    input_layer_value_range= xnnpack_weight_cache_file_path=
"""
_CLASSIC = """
    input_layer= input_layer_shape= input_layer_value_files= output_filepath=
    output_proto_filepath= list_signatures=false allow_fp16=false release_dynamic_tensors=false
    optimize_memory_for_large_tensors=0 disable_delegate_clustering=false
    enable_op_profiling=false op_profiling_output_mode=stdout op_profiling_output_file=
    profiling_output_csv_file= max_profiling_buffer_entries=1024 export_model_runtime_info=false
    model_runtime_info_output_file= print_preinvoke_state=false print_postinvoke_state=false
    use_xnnpack=false xnnpack_force_fp16=false use_gpu=false gpu_precision_loss_allowed=true
    gpu_experimental_enable_quant=true gpu_inference_for_sustained_speed=false gpu_backend=
    use_nnapi=false nnapi_accelerator_name= nnapi_execution_preference= nnapi_execution_priority=
    disable_nnapi_cpu=true nnapi_allow_fp16=false nnapi_use_burst_mode=false
    external_delegate_path= external_delegate_options= max_delegated_partitions=0
    min_nodes_per_partition=0 delegate_serialize_dir= delegate_serialize_token=
"""
_LITERT = """
    use_cpu=true use_gpu=false use_npu=false use_profiler=false enable_perfetto=false
    gpu_backend= gpu-precision=auto gpu_low_priority=false gpu_serialization_dir=
    gpu_model_cache_key= dispatch_library_path= compiler_plugin_library_path=
    compiler_cache_path= model_runtime_info_output_file=
"""


def _table(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in text.split())


_DEFAULTS = _table(_RUN_CONTROL + _CLASSIC + _LITERT)
#: Flags of the classic tool.
CLASSIC = frozenset(_table(_RUN_CONTROL + _CLASSIC))
#: Flags of LiteRT's tool.
LITERT = frozenset(_table(_RUN_CONTROL + _LITERT))


@dataclass(frozen=True)
class Flags:
    """What the command line says.

    Attributes:
        values: By name, without the dashes.
        unconsumed: Words that are no known flag, or one for the second time: the tool warns and
            goes on.
        unreadable: Flags and their words, where the value is none for this flag.
    """

    values: Mapping[str, str]
    unconsumed: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def wants_help(self) -> bool:
        """Whether the usage is asked for."""
        return self.unconsumed[:1] == ("--help",) or self.on("help")

    def on(self, name: str, default: bool = False) -> bool:
        """A flag that is true or false."""
        return self.values.get(name, str(default)).lower() in ("true", "1")

    def number(self, name: str, default: float) -> float:
        """A flag that is a number."""
        return float(self.values.get(name, default))

    def text(self, name: str) -> str:
        """A flag that is text; empty where it was not given."""
        return self.values.get(name, "")


def parse(words: Sequence[str], known: Set[str]) -> Flags:
    """Read the words after the program's name, for a tool with these flags."""
    values: dict[str, str] = {}
    unconsumed: list[str] = []
    unreadable: list[tuple[str, str]] = []
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not equals or name not in known or name in values:
            unconsumed.append(word)
            continue
        if not _fits(value, _kind(_DEFAULTS[name])):
            unreadable.append((name, word))
        values[name] = value
    return Flags(values, tuple(unconsumed), tuple(unreadable))


def usage(program: str, known: Set[str]) -> str:
    """What the tool says of its flags."""
    lines = [f"usage: {program} <flags>", "Flags:"]
    shown = {name: f"--{name}={default}" for name, default in _DEFAULTS.items() if name in known}
    width = max(map(len, shown.values()), default=0)
    for name, column in shown.items():
        words = DESCRIPTIONS.get(name, name.replace("_", " "))
        lines.append(f"\t{column:<{width}}\t{_kind(_DEFAULTS[name])}\toptional\t{words}")
    return "\n".join(lines)


def _kind(default: str) -> str:
    if default in ("true", "false"):
        return "bool"
    if _is_number(default):
        return "float" if "." in default else "int32"
    return "string"


def _fits(value: str, kind: str) -> bool:
    if kind == "bool":
        return value in ("true", "false", "0", "1")
    return kind == "string" or _is_number(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
