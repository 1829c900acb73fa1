"""Small ONNX graphs with random weights, and how far two graphs' results are apart."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]


class GraphBuilder:
    """Builds a graph operator by operator; every method takes and gives tensor names."""

    def __init__(self, channels: int, height: int = 13, width: int = 10, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.input_shape = (1, channels, height, width)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def weight(self, value: NDArray[Any]) -> str:
        name = self.name()
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def op(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def conv(
        self,
        source: str,
        channels: tuple[int, int],
        size: int = 3,
        *,
        gain: float = 1.0,
        bias: float = 0.3,
    ) -> str:
        """A size-keeping convolution, channels[0] to channels[1]; `bias` is the biases' spread."""
        shape = (channels[1], channels[0], size, size)
        spread = gain / np.sqrt(channels[0] * size * size)
        kernel = self.rng.normal(0, spread, shape).astype(np.float32)
        inputs = [source, self.weight(kernel)]
        if bias:
            inputs.append(self.weight(self.rng.normal(0, bias, channels[1]).astype(np.float32)))
        return self.op("Conv", *inputs, pads=[size // 2] * 4, kernel_shape=[size, size])

    def leaky(self, source: str, slope: float = 0.1) -> str:
        return self.op("LeakyRelu", source, alpha=slope)

    def split(self, source: str, sizes: list[int]) -> list[str]:
        sizes_name = self.weight(np.array(sizes, np.int64))
        return self.op("Split", source, sizes_name, outputs=len(sizes), axis=1)

    def concat(self, *sources: str) -> str:
        return self.op("Concat", *sources, axis=1)

    def build(self, output: str) -> onnx.ModelProto:
        """The model whose input is `lr` and whose output, named `hr`, is the given tensor."""
        nodes = [*self.nodes, helper.make_node("Identity", [output], ["hr"])]
        graph = helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("lr", TensorProto.FLOAT, self.input_shape)],
            [helper.make_tensor_value_info("hr", TensorProto.FLOAT, None)],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(inferred, full_check=True)
        return inferred


def run(model: onnx.ModelProto, lr_nchw: Array) -> Array:
    """The result of onnxruntime, its own graph rewrites switched off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: lr_nchw})[0]


def random_input(model: onnx.ModelProto, seed: int = 1) -> Array:
    """Noise on a slope: no symmetry that could hide a swapped axis or channel."""
    shape = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    noise = np.random.default_rng(seed).random(shape, dtype=np.float32)
    slope = np.linspace(0, 1, noise.size, dtype=np.float32).reshape(shape)
    return noise + slope


def operators(model: onnx.ModelProto) -> list[str]:
    """Operator types in order."""
    return [node.op_type for node in model.graph.node]


def assert_same_function(
    before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float = 1e-5
) -> None:
    """Both graphs give the same on random input, to `tolerance` of the output's range."""
    lr_nchw = random_input(before)
    wanted, got = run(before, lr_nchw), run(after, lr_nchw)
    assert got.shape == wanted.shape
    difference = np.abs(got - wanted)
    where = np.unravel_index(int(difference.argmax()), difference.shape)
    relative = float(difference.max() / np.ptp(wanted))
    assert relative <= tolerance, (
        f"max error {relative:.3g} of the range at {tuple(int(i) for i in where)}: "
        f"got {got[where]:.6g}, wanted {wanted[where]:.6g}"
    )
