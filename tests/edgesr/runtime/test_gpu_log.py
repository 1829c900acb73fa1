"""What is read off the accelerator's log; the logs are excerpts of ai-edge-litert 2.3.0's own."""

import pytest

from edgesr.runtime import gpu_log
from edgesr.runtime.gpu_log import Adapter, Refusal, Refusals

START = """\
INFO: [environment.cc:36] Creating LiteRT environment with options
INFO: [accelerator_registry.cc:54] RegisterAccelerator: ptr=0x0, name=NpuAccelerator
INFO: [gpu_registry.cc:130] Attempting to load GPU accelerator(libLiteRtGpuAccelerator.so).
INFO: [gpu_registry.cc:138] Dynamically loaded GPU accelerator(libLiteRtWebGpuAccelerator.so) registered.
INFO: [compiler_plugin.cc:250] Loading plugin at: libLiteRtCompilerPlugin_IntelOpenvino.so
WARNING: [compiler_plugin.cc:312] Failed to load plugin at: libLiteRtCompilerPlugin_IntelOpenvino.so with error: ERROR: [litert/compiler/plugin/compiler_plugin.cc:259]
└ Could not load shared library libLiteRtCompilerPlugin_IntelOpenvino.so: libopenvino.so.2631: cannot open shared object file: No such file or directory.
INFO: [delegate_webgpu.cc:342] Create WebGPU environment (use_low_power=0, enable_host_mapped_pointer=1)
WARNING: Logging before InitGoogle() is written to STDERR
"""  # noqa: E501 - as printed
SWIFTSHADER = (
    "I0000 00:00:1795266303.204247    8029 environment.cc:532] Selected adapter: SwiftShader "
    "Device (Subzero), arch=swiftshader, vendor=google, backend=Vulkan, "
    "adapterType=CPU / Software\n"
)
END = """\
INFO: Failed to load OpenCL library with dlopen: libOpenCL.so: cannot open shared object file: No such file or directory. Trying ICD loader.
I0000 00:00:1795266303.210833    8029 delegate_kernel.cc:984] Initializing WebGPU-based API from graph.
INFO: [accelerator_registry.cc:43] DestroyAccelerator: ptr=0x0, name=CpuAccelerator
"""  # noqa: E501
CLEAN = START + SWIFTSHADER + END

RANK_6 = """\
ERROR: Following operations are not supported by GPU delegate:
RESHAPE: Tensor "model/tf.compat.v1.transpose/transpose" has bad input dims size: 6.
RESHAPE: Tensor "model/tf.reshape/Reshape" has bad input dims size: 6.
TRANSPOSE: Tensor "model/tf.reshape/Reshape" has bad input dims size: 6.
64 operations will run on the GPU, and the remaining 3 operations will run on the CPU.
"""
NOTHING_TAKEN = """\
ERROR: Following operations are not supported by GPU delegate:
RELU_0_TO_1: Not supported op RELU_0_TO_1
No operations will run on the GPU, and all 1 operations will run on the CPU.
"""
FLEX = """\
ERROR: Select TensorFlow op(s), included in the given model, is(are) not supported by this interpreter. Make sure you apply/link the Flex delegate before inference. For the Android, it can be resolved by adding "org.tensorflow:tensorflow-lite-select-tf-ops" dependency. See instructions: https://www.tensorflow.org/lite/guide/ops_select
ERROR: Node number 3 (FlexSplitV) failed to prepare.
"""  # noqa: E501
CUSTOM = """\
ERROR: Encountered unresolved custom op: MyOp.
See instructions: https://www.tensorflow.org/lite/guide/ops_custom
ERROR: Node number 0 (MyOp) failed to prepare.
"""
OUT_OF_MEMORY = """\
E0000 00:00:1795266643.083486   10599 environment.cc:105] Out of memory: vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY
 - While calling [Device].CreateTexture([TextureDescriptor]).
    at CheckVkOOMThenSuccessImpl (third_party/dawn/src/dawn/native/vulkan/VulkanError.cpp:119)

E0000 00:00:1795266643.083541   10599 environment.cc:105] Validation error: [Invalid Texture] is invalid due to a previous error.
 - While calling [Invalid Texture].CreateView([TextureViewDescriptor]).
"""  # noqa: E501
NO_DEVICE = """\
Warning: Insufficient Vulkan limits for maxTextureDimension3D. VkPhysicalDeviceLimits::maxImageDimension3D must be at least 2048
ERROR: [delegate_webgpu.cc:359] Failed to initialize WebGPU environment: INTERNAL: No adapters found
E0000 00:00:1795266445.885886    8668 delegate_webgpu.cc:736] Failed to get or create delegate WebGPU environment: INTERNAL: Failed to initialize WebGPU environment
=== Source Location Trace: ===
third_party/odml/litert/ml_drift/delegate/delegate_webgpu.cc:432
"""  # noqa: E501
NO_LIBRARY = """\
INFO: [gpu_registry.cc:130] Attempting to load GPU accelerator(libLiteRtVulkanAccelerator.so).
WARNING: [gpu_registry.cc:160] GPU accelerator could not be loaded and registered.
"""


def test_a_clean_log_names_the_device_and_no_error() -> None:
    assert gpu_log.adapter(CLEAN) == Adapter("SwiftShader Device (Subzero)", "Vulkan", True)
    assert gpu_log.accelerator_is_loaded(CLEAN)
    assert gpu_log.errors(CLEAN) == []
    assert gpu_log.refusals(CLEAN) is None
    assert not gpu_log.is_out_of_memory(CLEAN)


def test_metal_has_one_device_without_a_name() -> None:
    log = START + "INFO: [delegate_metal.mm:120] Created a Metal device.\n"
    assert gpu_log.adapter(log) == Adapter("default device", "Metal", software=False)


@pytest.mark.parametrize("log", ["", START, START + NO_DEVICE], ids=["empty", "start", "no device"])
def test_no_device_is_made_up(log: str) -> None:
    assert gpu_log.adapter(log) is None


@pytest.mark.parametrize("log", ["", NO_LIBRARY], ids=["empty", "no library"])
def test_a_library_that_was_not_loaded_is_noticed(log: str) -> None:
    assert not gpu_log.accelerator_is_loaded(log)


def rank_6(operator: str, tensor: str) -> Refusal:
    return Refusal(operator, f'Tensor "model/{tensor}" has bad input dims size: 6.')


REFUSALS = [
    pytest.param(
        RANK_6,
        Refusals(
            (
                rank_6("RESHAPE", "tf.compat.v1.transpose/transpose"),
                rank_6("RESHAPE", "tf.reshape/Reshape"),
                rank_6("TRANSPOSE", "tf.reshape/Reshape"),
            ),
            on_gpu=64,
            on_cpu=3,
        ),
        id="some",
    ),
    pytest.param(
        NOTHING_TAKEN,
        Refusals((Refusal("RELU_0_TO_1", "Not supported op RELU_0_TO_1"),), on_gpu=0, on_cpu=1),
        id="all",
    ),
    pytest.param(
        FLEX,
        Refusals(
            (
                Refusal(
                    "FlexSplitV",
                    "operator 3 cannot be prepared: Select TensorFlow op(s), included in the given "
                    "model, is(are) not supported by this interpreter",
                ),
            ),
            on_gpu=0,
            on_cpu=None,
        ),
        id="Flex",
    ),
    pytest.param(
        CUSTOM,
        Refusals(
            (
                Refusal(
                    "MyOp", "operator 0 cannot be prepared: Encountered unresolved custom op: MyOp."
                ),
            ),
            on_gpu=0,
            on_cpu=None,
        ),
        id="custom",
    ),
    pytest.param(
        CUSTOM.splitlines(keepends=True)[2],
        Refusals(
            (Refusal("MyOp", "operator 0 cannot be prepared: no reason given"),),
            on_gpu=0,
            on_cpu=None,
        ),
        id="without a reason",
    ),
    pytest.param(
        "ERROR: Didn't find op for builtin opcode 'ADD' version '99'. An older version of this "
        "builtin might be supported. Are you using an old TFLite binary with a newer model?\n\n"
        "ERROR: Registration failed.\n\n",
        Refusals(
            (Refusal("ADD", "Didn't find op for builtin opcode 'ADD' version '99'"),),
            on_gpu=0,
            on_cpu=None,
        ),
        id="too new",
    ),
]


@pytest.mark.parametrize(("lines", "expected"), REFUSALS)
def test_refused_operators_are_named_and_counted(lines: str, expected: Refusals) -> None:
    assert gpu_log.refusals(START + SWIFTSHADER + lines + END) == expected


def test_an_error_before_the_reason_is_not_taken_for_it() -> None:
    log = "ERROR: [x.cc:1] Something else.\n" + FLEX
    found = gpu_log.refusals(log)
    assert found is not None
    assert found.refused[0].reason.startswith("operator 3 cannot be prepared: Select TensorFlow")


def test_errors_of_webgpu_are_found_without_what_stands_around_them() -> None:
    assert gpu_log.errors(CLEAN + OUT_OF_MEMORY + OUT_OF_MEMORY) == [
        "Out of memory: vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY",
        "Validation error: [Invalid Texture] is invalid due to a previous error.",
    ]
    assert gpu_log.errors(NO_DEVICE) == [
        "Failed to initialize WebGPU environment: INTERNAL: No adapters found",
        "Failed to get or create delegate WebGPU environment: INTERNAL: Failed to initialize "
        "WebGPU environment",
    ]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(OUT_OF_MEMORY, True, id="Vulkan"),
        pytest.param(
            "terminate called after throwing an instance of 'std::bad_alloc'\n", True, id="C++"
        ),
        pytest.param(NO_DEVICE, False, id="no device"),
        pytest.param(RANK_6, False, id="refusal"),
        pytest.param(
            "INFO: [delegate_webgpu.cc:342] Out of memory is not what this tells of\n",
            False,
            id="no error",
        ),
    ],
)
def test_missing_memory_is_told_from_other_errors(log: str, expected: bool) -> None:
    assert gpu_log.is_out_of_memory(START + log) is expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param("", "it logged nothing", id="nothing"),
        pytest.param("INFO: a\nINFO: b\nINFO: c\nINFO: d\n", "INFO: b | INFO: c | INFO: d", id="4"),
        pytest.param(
            START + "RuntimeError: x\n" + END, "RuntimeError: x", id="what is more than chatter"
        ),
        pytest.param(
            START + "ERROR: [x.cc:7] first\nnoise\n" + END + "terminate called\n",
            "first | terminate called",
            id="errors and dying words",
        ),
        pytest.param("ERROR: " + "x" * 999, "x" * 300, id="a long line"),
    ],
)
def test_last_words_are_the_most_telling_lines(log: str, expected: str) -> None:
    assert gpu_log.last_words(log) == expected
