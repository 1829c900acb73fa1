"""What is said where onnx2tf fails: one line, the operator first, nothing of Python."""

import pytest

from converters.tflite.backend import failure_reason

_LOG = """
\x1b[31mERROR:\x1b[0m The trace log is below.
\x1b[31mERROR:\x1b[0m onnx_op_name: Resize:hr
Traceback (most recent call last):
  File "/lib/onnx2tf/onnx2tf.py", line 1218, in convert
  File "/lib/onnx2tf/ops/Resize.py", line 404, in make_node
    boxes = tf.expand_dims(tf.gather(roi, indices, axis=0), 0)
ValueError: Attempt to convert a value with an unsupported type to a Tensor.
"""


def test_the_operator_is_named() -> None:
    found = failure_reason(_LOG, 1)
    assert found.startswith("cannot convert operator Resize Resize:hr (Attempt to convert a value")
    assert found.endswith("write the network without it")
    assert "ValueError" not in found


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", "failed: it printed nothing, exit status -9"),
        ("one\n\n\x1b[31mtwo\n", r"failed: \x1b[31mtwo"),
        ("MemoryError: " + 1000 * "a", "failed: " + 160 * "a" + "..."),
    ],
    ids=["nothing", "colours", "endless"],
)
def test_a_failure_without_an_operator_is_one_line(log: str, reason: str) -> None:
    assert failure_reason(log, -9) == reason
