"""Check a `.tflite` before it runs: structure, then LiteRT's shapes."""

from edgesr.errors import ModelFileError
from edgesr.runtime.interpreter import interpreter_class, native_reason, plain_kernels
from edgesr.tflite.validation import check_structure


def check_integrity(content: bytes, name: str = "the file", *, shapes: bool = True) -> None:
    """Refuse a `.tflite` that could crash the native runtime.

    Args:
        content: The whole file.
        name: What to call it in an error.
        shapes: Whether LiteRT is queried for the shapes that the operators compute, which it
            answers only where the CPU has every operator.

    Raises:
        ModelFileError: The file is truncated or damaged, LiteRT does not take it, or a tensor does
            not fit this machine.
    """
    check_structure(content, name)
    if shapes:
        check_shapes(content, name)


def check_shapes(content: bytes, name: str = "the file") -> None:
    """Refuse a sound file whose declared shapes are not those that its operators compute.

    Engines that plan memory by the declared shapes (XNNPACK, LiteRT's CompiledModel) would write
    behind a buffer. LiteRT's plain kernels compute every shape, without computing a value, in a
    millisecond or two.

    Raises:
        ModelFileError: They are not, or LiteRT does not take the file.
    """
    interpreter_type = interpreter_class()
    resolver = plain_kernels(interpreter_type)
    try:
        interpreter = interpreter_type(
            model_content=content, experimental_op_resolver_type=resolver
        )
        declared = {d["index"]: d["shape"].tolist() for d in interpreter.get_tensor_details()}
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(f"LiteRT cannot load {name}: {native_reason(error)}") from error
    for detail in interpreter.get_tensor_details():
        shape = detail["shape"].tolist()
        if declared.get(detail["index"], shape) != shape:
            raise ModelFileError(
                f"{name} cannot be run: tensor {detail['name']} is declared as "
                f"{declared[detail['index']]} and computed as {shape}; convert or copy it anew"
            )
