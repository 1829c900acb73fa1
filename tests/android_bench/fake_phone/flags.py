"""The flags of benchmark_model, as it reads them.

Source: LiteRT, tflite/tools/benchmark and tflite/tools/delegates.
"""

from collections.abc import Sequence
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
_RUN_CONTROL = frozenset({
    "graph", "num_runs", "min_secs", "max_secs", "run_delay", "run_frequency", "num_threads",
    "warmup_runs", "warmup_min_secs", "verbose", "dry_run", "use_caching", "help",
    "report_peak_memory_footprint", "memory_footprint_check_interval_ms",
    "require_full_delegation", "result_file_path", "signature_to_run_for",
    "input_layer_value_range", "xnnpack_weight_cache_file_path",
})  # fmt: skip
#: Flags of the classic tool.
CLASSIC = _RUN_CONTROL | DESCRIPTIONS.keys() | {
    "input_layer", "input_layer_shape", "input_layer_value_files", "output_filepath",
    "output_proto_filepath", "list_signatures", "allow_fp16", "release_dynamic_tensors",
    "optimize_memory_for_large_tensors", "disable_delegate_clustering", "op_profiling_output_mode",
    "op_profiling_output_file", "profiling_output_csv_file", "max_profiling_buffer_entries",
    "xnnpack_force_fp16", "gpu_experimental_enable_quant", "gpu_inference_for_sustained_speed",
    "nnapi_accelerator_name", "nnapi_execution_preference", "nnapi_execution_priority",
    "disable_nnapi_cpu", "nnapi_allow_fp16", "nnapi_use_burst_mode", "external_delegate_path",
    "external_delegate_options", "max_delegated_partitions", "min_nodes_per_partition",
    "delegate_serialize_dir", "delegate_serialize_token", "print_preinvoke_state",
    "print_postinvoke_state",
}  # fmt: skip
#: Flags of LiteRT's tool.
LITERT = _RUN_CONTROL | {
    "use_cpu", "use_gpu", "use_npu", "use_profiler", "enable_perfetto", "gpu_backend",
    "gpu-precision", "gpu_low_priority", "gpu_serialization_dir", "gpu_model_cache_key",
    "dispatch_library_path", "compiler_plugin_library_path", "compiler_cache_path",
    "model_runtime_info_output_file",
}  # fmt: skip
_NUMBERS = ("num_runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs", "num_threads")


@dataclass(frozen=True)
class Flags:
    """What the command line says.

    Attributes:
        values: By name, without the dashes.
        unconsumed: Words that are no known flag: the tool warns and goes on.
        duplicates: Flags given more than once; the last one counts.
        unreadable: A flag and its word, where a number was wanted.
    """

    values: dict[str, str]
    unconsumed: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    unreadable: tuple[str, str] | None = None

    def on(self, name: str, default: bool = False) -> bool:
        """A flag that is true or false."""
        return self.values.get(name, str(default)).lower() in ("true", "1")

    def number(self, name: str, default: float) -> float:
        """A flag that is a number."""
        return float(self.values.get(name, default))

    def text(self, name: str) -> str:
        """A flag that is text; empty where it was not given."""
        return self.values.get(name, "")


def parse(words: Sequence[str], known: frozenset[str]) -> Flags:
    """Read the words after the program's name."""
    values: dict[str, str] = {}
    unconsumed: list[str] = []
    duplicates: list[str] = []
    unreadable = None
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or (not equals and name != "help") or name not in known:
            unconsumed.append(word)
            continue
        if name in values:
            duplicates.append(name)
        if name in _NUMBERS and not _is_number(value):
            unreadable = unreadable or (name, word)
        values[name] = value or "true"
    return Flags(values, tuple(unconsumed), tuple(duplicates), unreadable)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
