"""io_scale: fold the value range into the first and the last convolution.

Why it is exact. A network F of range [0, r] is rewritten as x -> F(r x) / r on [0, 1]. A
convolution with zero padding of r x is the convolution with r times the kernel of x; its bias
stays. The last convolution's kernel and bias divided by r divide its output by r.
"""

import onnx

from converters.onnx_graph.graph import Graph
from converters.passes.convolution import need_conv, output_conv, set_conv
from edgesr.errors import ConversionError

NAME = "io_scale"


def io_scale(model: onnx.ModelProto, value_range: float) -> onnx.ModelProto:
    """Rescale a network of range [0, value_range] to range [0, 1].

    Raises:
        ConversionError: Something other than convolutions reads the input, or the output is not
            made by a convolution that nothing else reads.
    """
    graph = Graph(model)
    if value_range == 1.0:
        return graph.to_model()
    for node in graph.consumers(graph.input):
        first = need_conv(graph, node, "a value range other than [0, 1] must go into convolutions")
        set_conv(graph, first, first.kernel * value_range, first.bias)
    last = output_conv(graph)
    if last is None:
        raise ConversionError(
            "a value range other than [0, 1] must go into a last convolution: got "
            f"{_maker(graph)}, allowed a Conv with constant weights that nothing else reads"
        )
    set_conv(graph, last, last.kernel / value_range, last.bias / value_range)
    return graph.to_model()


def _maker(graph: Graph) -> str:
    """The operator that makes the output."""
    producer = graph.producer(graph.output)
    return "nothing" if producer is None else producer.op
