"""LiteRT's accelerator called directly: only `edgesr.runtime._gpu_child` does, for it may crash.

The accelerator treats FP16 as a hint: on a device without it, it computes in FP32 without a
message. The precision in force is therefore measured.
"""

from typing import Any

import numpy as np

from edgesr.runtime.precision import ComputePrecision

#: Input and output of `doubling_model`, NHWC.
TINY_SHAPE = (1, 8, 8, 4)
# FP16's nearest number is 1: doubled in FP16 it is 2, in FP32 a little more.
_BETWEEN_HALVES = np.float32(1 + 2**-12)


def compile_gpu(content: bytes, *, half: bool) -> Any:  # noqa: ANN401 - the binding has no types
    """Compile for the GPU alone: what it does not take is an error.

    With the CPU allowed too, LiteRT 2.3.0 gives the CPU what the GPU refuses and calls the file
    fully accelerated all the same (measured).

    Args:
        content: A whole `.tflite`; it must live as long as what is made of it.
        half: Whether to compute in FP16.

    Raises:
        RuntimeError: The accelerator refuses, or there is none; see the log.
    """
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.gpu_options import GpuOptions
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import Options

    options = Options(
        hardware_accelerators=HardwareAccelerator.GPU,
        gpu_options=GpuOptions(enforce_f32=not half),
    )
    return CompiledModel.from_buffer(content, options=options)


def precision_in_force(*, half: bool) -> ComputePrecision:
    """Measure the accelerator's precision by doubling a number that FP16 lacks.

    Args:
        half: Whether FP16 is requested.

    Raises:
        RuntimeError: There is no accelerator.
    """
    content = doubling_model()
    model = compile_gpu(content, half=half)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(np.full(TINY_SHAPE, _BETWEEN_HALVES, np.float32))
    model.run_by_index(0, inputs, outputs)
    doubled = outputs[0].read(int(np.prod(TINY_SHAPE)), np.float32)
    exact = bool(np.all(doubled == 2 * _BETWEEN_HALVES))
    return ComputePrecision.FP32 if exact else ComputePrecision.FP16


def doubling_model() -> bytes:
    """A `.tflite` that adds its input to itself, 1 x 8 x 8 x 4, float32."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    code: Any = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    operator: Any = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 0], [1]
    operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
    operator.builtinOptions = schema.AddOptionsT()
    graph: Any = schema.SubGraphT()
    graph.tensors = [_tensor(schema, name) for name in ("x", "doubled")]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model: Any = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(schema: Any, name: str) -> Any:  # noqa: ANN401 - generated code has no types
    tensor: Any = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, list(TINY_SHAPE), schema.TensorType.FLOAT32
    return tensor
