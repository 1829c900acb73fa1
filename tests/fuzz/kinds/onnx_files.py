"""Damaged and odd ONNX files through `info` and `convert --onnx`."""

from functools import cache
from random import Random

import onnx
from onnx import helper

from fuzz.case import NASTY_TEXT, Case, damage
from helpers.onnx_graphs import GraphBuilder

_OPERATORS = (
    "Conv Relu Add Mul Div Resize Reshape Transpose Split Slice Gather ScatterND Erf Sigmoid "
    "DepthToSpace SpaceToDepth ConvTranspose Pad ReduceMean Softmax Identity Constant Shape Cast "
    "LayerNormalization If Loop NonZero Nothing"
)
_SIZES = (0, 1, 2, 3, 31, -1, 2**31, 2**62)


def make(rng: Random) -> Case:
    """An ONNX file, most often bad, and the command on it."""
    content = _base(rng.randrange(3))
    if rng.random() < 0.3:
        content = damage(content, rng)
    else:
        model = onnx.ModelProto.FromString(content)
        for _ in range(rng.choice((1, 1, 2))):
            _edit(model, rng)
        content = model.SerializeToString()
    info = ["info", "x.onnx"]
    convert = ["convert", "--onnx", "x.onnx", "--fp32", *rng.choice(([], ["--size", "16x16"]))]
    words = rng.choice((info, info, info, [*info, "--json"], convert))
    return Case(words, {"x.onnx": content})


@cache
def _base(number: int) -> bytes:
    """Convolutions and a shuffle, a Resize, or a Reshape in the middle."""
    import numpy as np

    g = GraphBuilder(3, 16, 12)
    if number == 0:
        result = g.op("DepthToSpace", g.conv(g.leaky(g.conv("lr", (3, 8))), (8, 12)), blocksize=2)
    elif number == 1:
        sizes = g.weight(np.array([1, 1, 2, 2], np.float32))
        result = g.op("Resize", g.conv("lr", (3, 3)), "", sizes, mode="nearest")
    else:
        split = g.op("Reshape", g.conv("lr", (3, 12)), g.weight(np.array([1, 2, 2, 3, 16, 12])))
        turned = g.op("Transpose", split, perm=[0, 3, 4, 1, 5, 2])
        result = g.op("Reshape", turned, g.weight(np.array([1, 3, 32, 24])))
    return g.build(result).SerializeToString()


def _edit(model: onnx.ModelProto, rng: Random) -> None:
    """Change one field of the model by its meaning."""
    graph = model.graph
    node, weight = rng.choice(graph.node), rng.choice(graph.initializer)
    value = rng.choice((*graph.input, *graph.output)).type.tensor_type
    text = rng.choice([text for text in NASTY_TEXT if text != "\ud800"])
    match rng.randrange(16):
        case 0:
            weight.raw_data = rng.choice((weight.raw_data[:-4], weight.raw_data * 2, b"", b"123"))
        case 1:
            weight.data_type = rng.choice((0, 2, 6, 7, 8, 10, 11, 16, 17, 22, 99))
        case 2:
            weight.dims[rng.randrange(len(weight.dims))] = rng.choice(_SIZES)
        case 3:
            value.elem_type = rng.choice((0, 2, 7, 8, 10, 11, 99))
        case 4 if len(value.shape.dim):
            dimension = rng.choice(value.shape.dim)
            dimension.dim_value = rng.choice(_SIZES)
        case 5:
            rng.choice(model.opset_import).version = rng.choice((0, 1, 7, 9, 11, 13, 24, 99, -1))
        case 6:
            model.ir_version = rng.choice((0, 1, 3, 4, 99))
        case 7:
            node.op_type = rng.choice(_OPERATORS.split())
        case 8 if node.attribute:
            attribute = rng.choice(node.attribute)
            changed = rng.choice((0, 1, -1, 2**40, 1.5, "text", [1], [0] * 9, [], [2**40]))
            attribute.CopyFrom(
                onnx.AttributeProto(name=attribute.name, type=attribute.type)
                if changed == []
                else helper.make_attribute(attribute.name, changed)
            )
        case 9 if node.attribute:
            del node.attribute[rng.randrange(len(node.attribute))]
        case 10:
            node.input[rng.randrange(len(node.input))] = rng.choice(("", "lr", "missing", text))
        case 11:
            node.input.append(rng.choice(("", "lr", weight.name)))
        case 12:
            node.name = node.domain = text
        case 13:
            node.output[0] = rng.choice((text, "hr", "lr"))
        case 14:
            del graph.node[rng.randrange(len(graph.node))]
        case _:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            graph.node.insert(0, copied)
