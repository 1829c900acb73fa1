"""The last row or column of an image, counted from the end, so that a file fits every size.

The pass edge_pad cuts the last row, begin -1, in ONNX. onnx2tf writes its number at the size that
it converts. Here it is written as it was meant.
"""

from typing import Any

import numpy as np

from edgesr.common.litert import litert_schema


def count_from_the_end(content: bytes) -> bytes:
    """Write cuts of the last row or column, which are joined to their image again, with begin -1.

    Args:
        content: A `.tflite`.

    Returns:
        The new file, or the same bytes where there is no such cut.
    """
    schema = litert_schema()
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    names = schema.BuiltinOperator
    code = {
        i: max(c.builtinCode, c.deprecatedBuiltinCode) for i, c in enumerate(model.operatorCodes)
    }
    joins = [o for o in graph.operators if code[o.opcodeIndex] == names.CONCATENATION]
    changed = False
    for operator in graph.operators:
        if code[operator.opcodeIndex] == names.STRIDED_SLICE:
            changed |= _rewritten(model, graph, operator, joins)
    if not changed:
        return content
    import flatbuffers

    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _rewritten(model: Any, graph: Any, operator: Any, joins: list[Any]) -> bool:  # noqa: ANN401
    """Rewrite one cut, and tell whether it was one of those meant."""
    source, *constants = (int(index) for index in operator.inputs)
    shape = [int(side) for side in graph.tensors[source].shape]
    values = [_integers(model, graph, index) for index in constants]
    if len(shape) != 4 or any(len(v) != 4 for v in values):
        return False
    begin, end, stride = values
    options = operator.builtinOptions
    for axis in (1, 2):
        last = not options.beginMask >> axis & 1 and begin[axis] == shape[axis] - 1
        to_end = not options.endMask >> axis & 1 and end[axis] >= shape[axis]
        if not (last and to_end and stride[axis] == 1):
            continue
        if any(
            source in list(map(int, join.inputs)) and join.builtinOptions.axis % 4 == axis
            for join in joins
            if int(operator.outputs[0]) in list(map(int, join.inputs))
        ):
            begin[axis], end[axis] = -1, 0
            options.endMask |= 1 << axis
            operator.inputs = [source, *(_constant(model, graph, v) for v in (begin, end, stride))]
            return True
    return False


def _integers(model: Any, graph: Any, index: int) -> list[int]:  # noqa: ANN401
    data = model.buffers[graph.tensors[index].buffer].data
    return [] if data is None else np.asarray(data, np.uint8).view("<i4").tolist()


def _constant(model: Any, graph: Any, numbers: list[int]) -> int:  # noqa: ANN401
    """A new constant of four whole numbers."""
    schema = litert_schema()
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.array(numbers, "<i4").view(np.uint8)
    tensor.name = f"border_{len(graph.tensors)}".encode()
    tensor.shape, tensor.type = [len(numbers)], schema.TensorType.INT32
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
