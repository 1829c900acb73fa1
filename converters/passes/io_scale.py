"""io_scale: the checkpoint's value range goes into the first and the last convolution.

Why it is exact. A network F trained on [0, r] is wanted as x -> F(r x) / r on [0, 1]. A convolution
with zero padding of r x is the convolution with r times the kernel of x; its bias stays. The last
convolution's kernel and bias divided by r divide its output by r.
"""

import onnx

from converters.graph import Graph
from converters.passes.convolution import Conv, need_conv, set_conv
from edgesr.errors import ConversionError

NAME = "io_scale"


def io_scale(model: onnx.ModelProto, value_range: float) -> onnx.ModelProto:
    """Make a network of range [0, value_range] one of range [0, 1].

    Raises:
        ConversionError: Something other than convolutions reads the input, or the output is not
            made by a convolution that serves nothing else.
    """
    graph = Graph(model)
    if value_range == 1.0:
        return graph.to_model()
    for node in graph.consumers(graph.input):
        first = need_conv(graph, node, "a value range other than [0, 1] must go into convolutions")
        set_conv(graph, first, first.kernel * value_range, first.bias)
    last = _last_conv(graph)
    set_conv(graph, last, last.kernel / value_range, last.bias / value_range)
    return graph.to_model()


def _last_conv(graph: Graph) -> Conv:
    """The convolution whose values, shuffled or not, are the output."""
    producer = graph.producer(graph.output)
    if producer is not None and producer.op == "DepthToSpace":
        if graph.only_consumer(producer.inputs[0]) is not producer:
            raise ConversionError("the tensor that is shuffled into the output is read elsewhere")
        producer = graph.producer(producer.inputs[0])
    return need_conv(graph, producer, "a value range other than [0, 1] must go into a last Conv")
