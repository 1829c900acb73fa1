"""Damaged and odd `.tflite` files through `upscale`, `inspect`, `info` and `bench`."""

import json
from collections.abc import Callable
from functools import cache, partial
from random import Random
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

from edgesr.errors import EdgeSRError
from edgesr.tflite.facts import UNSEALED, seal
from fuzz.case import Case, damage, edit_tree
from fuzz.image_reference import check_upscaled
from fuzz.kinds.images import good_image
from helpers.run_mutants import mutate, structure
from helpers.small_net import SmallNet
from helpers.tflite_builder import TfliteBuilder, options, sr_model

_TYPES = [v for k, v in vars(schema.TensorType).items() if k.isupper()]
_OPERATORS = [v for k, v in vars(schema.BuiltinOperator).items() if k.isupper()]
_INTEGERS = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)
_WIDER = (*_INTEGERS, schema.TensorType.INT32, schema.TensorType.INT64, schema.TensorType.BOOL)
_UNARY = "SQRT RSQRT LOG EXP ABS NEG ELU RELU LOGISTIC TANH SIN ROUND ZEROS_LIKE CEIL"
_BINARY = (
    "ADD SUB MUL DIV FLOOR_DIV FLOOR_MOD POW MAXIMUM MINIMUM SQUARED_DIFFERENCE ADD_N EQUAL "
    "NOT_EQUAL LESS LESS_EQUAL GREATER GREATER_EQUAL"
)
_SIZES = (0, 1, 2, 3, 16, 24, 255, -1, 2**16, 2**31 - 1)


def make(rng: Random) -> Case:
    """A file, most often bad, and the command on it."""
    with_facts = rng.random() < 0.4
    base = _base(rng.randrange(3), with_facts)
    makers: list[tuple[int, Callable[[], bytes]]] = [
        (3, lambda: mutate(base, _places(base), rng)),
        (1, lambda: damage(base, rng)),
        (4, lambda: _edited(base, rng)),
        (4, lambda: _integer_operators(rng)),
        (2, lambda: _edited(_integer_operators(rng), rng)),
        (2, lambda: _with_facts(_odd_facts(rng))),
    ]
    (maker,) = rng.choices([m for _, m in makers], [share for share, _ in makers])
    if rng.random() < 0.1:
        return _flipped_weight(rng)
    files = {"m.tflite": maker(), "in.png": good_image()}
    return Case(_command(rng), files)


def _command(rng: Random) -> list[str]:
    upscale = ["upscale", "in.png", "-m", "m.tflite", "-o", "out.png"]
    bench = ["bench", "m.tflite", "--on", "host", "--runs", "1", "--warm-up", "0", "--repeats", "1"]
    return rng.choice(
        [
            *([upscale] * 4),
            [*upscale, "--whole"],
            [*upscale, "--backend", "cpu-fp16"],
            ["inspect", "m.tflite"],
            ["inspect", "m.tflite", "--json"],
            ["info", "m.tflite"],
            [*bench, "--threads", "1"],
        ]
    )


@cache
def _base(number: int, with_facts: bool) -> bytes:
    if number == 0:
        return sr_model(16, 24)
    return SmallNet(whole_image=number == 2).tflite(16, 24, facts=with_facts)


@cache
def _places(base: bytes) -> list[int]:
    return structure(base)


def _flipped_weight(rng: Random) -> Case:
    """One bit of a weight of a file that edgesr made: no other image may come out."""
    content = bytearray(SmallNet(scale=2, radius=1, detail=0.0).tflite(16, 24))
    inside = sorted(set(range(8, len(content))) - set(_places(bytes(content))))
    content[rng.choice(inside)] ^= 1 << rng.randrange(8)
    files = {"m.tflite": bytes(content), "in.png": good_image()}
    words = ["upscale", "in.png", "-m", "m.tflite", "-o", "out.png"]
    return Case(words, files, partial(check_upscaled, good_image()))


def _with_facts(facts: bytes) -> bytes:
    """A small network with other bytes as its facts."""
    model = _unpacked(_base(1, True))
    entry = next(e for e in model.metadata if e.name == b"EDGESR_FACTS")
    model.buffers[entry.buffer].data = np.frombuffer(facts, np.uint8)
    return _sealed(_packed(model))


def _unseal(model: Any) -> None:
    """Take the digest out of the facts, so that another can be written."""
    for entry in model.metadata:
        if entry.name == b"EDGESR_FACTS":
            facts = json.loads(bytes(model.buffers[entry.buffer].data))
            text = json.dumps(facts | {"content_sha256": UNSEALED}).encode()
            model.buffers[entry.buffer].data = np.frombuffer(text, np.uint8)


def _sealed(content: bytes) -> bytes:
    """The same file with the right digest in its facts, as one who means harm would write it."""
    try:
        return seal(content) if content.count(UNSEALED.encode()) == 1 else content
    except (EdgeSRError, ValueError):  # edited beyond that
        return content


def _odd_facts(rng: Random) -> bytes:
    """Facts with other values, deeply nested, or no JSON."""
    facts = SmallNet().facts()
    if rng.random() < 0.2:
        depth = rng.choice((900, 5000, 200_000))
        return rng.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))
    for _ in range(rng.choice((1, 1, 3))):
        edit_tree(facts, rng)
    text = json.dumps(facts)
    encoded = text.encode()
    return damage(encoded, rng) if rng.random() < 0.2 else encoded


def _unpacked(content: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(content, 0)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _edited(content: bytes, rng: Random) -> bytes:
    """Edit up to three fields by their meaning; the flatbuffer stays well-formed."""
    model = _unpacked(content)
    if rng.random() < 0.7:
        _unseal(model)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _edit(model, rng)
    try:
        return _sealed(_packed(model))
    except Exception:  # a value that the format cannot hold
        return content


def _edit(model: Any, rng: Random) -> None:
    graph = model.subgraphs[0]
    tensor, operator = rng.choice(graph.tensors), rng.choice(graph.operators)
    holder, name = rng.choice([(operator, "inputs"), (operator, "outputs"), (graph, "inputs")])
    indices = list(getattr(holder, name))
    match rng.randrange(14):
        case 0:
            tensor.type = rng.choice(_TYPES)
        case 1 if tensor.shape is not None and len(tensor.shape):
            tensor.shape = list(tensor.shape)
            tensor.shape[rng.randrange(len(tensor.shape))] = rng.choice(_SIZES)
        case 2:
            tensor.shapeSignature = [rng.choice((-1, 1, 3)) for _ in range(rng.randrange(6))]
        case 3:
            tensor.quantization = _quantization(rng)
        case 4:
            tensor.shape = (
                list(tensor.shape)[: rng.randrange(4)] if tensor.shape is not None else [1]
            )
        case 5:
            code = rng.choice(model.operatorCodes)
            code.builtinCode = rng.choice(_OPERATORS)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        case 6:
            rng.choice(model.operatorCodes).version = rng.choice((0, -1, 99))
        case 7 if operator.builtinOptions is not None and vars(operator.builtinOptions):
            name = rng.choice(list(vars(operator.builtinOptions)))
            setattr(operator.builtinOptions, name, rng.choice((0, 1, 2, 3, 7, 100, -1)))
        case 8:
            operator.builtinOptions, operator.builtinOptionsType = None, 0
        case 9 if len(indices):
            position = rng.randrange(len(indices))
            indices[position] = rng.choice((-1, rng.randrange(len(graph.tensors)), 10**6))
            setattr(holder, name, indices)
        case 10:
            buffer = rng.choice(model.buffers)
            data = bytes(buffer.data) if buffer.data is not None else b""
            changed = rng.choice((data[: len(data) // 2], data + b"1234", b"", rng.randbytes(16)))
            buffer.data = np.frombuffer(changed, np.uint8)
        case 11:
            tensor.buffer = rng.choice((0, rng.randrange(len(model.buffers)), 10**6))
        case 12:
            tensor.name = rng.choice(
                (b"\x1b[31m", "\u202e".encode(), b"\xff\xfe", b"x" * 5000, None)
            )
        case _:
            place = rng.randrange(len(graph.operators))
            graph.operators.insert(rng.randrange(len(graph.operators)), graph.operators[place])


def _quantization(rng: Random) -> Any:
    """Scales and zero points, seldom fit ones."""
    made = schema.QuantizationParametersT()
    if rng.random() < 0.7:
        made.scale, made.zeroPoint = [rng.choice((0.0, 0.01, 1e-30))], [0]
        return made
    count = rng.choice((0, 1, 1, 1, 3))
    made.scale = [rng.choice((0.0, 1.0, 1e-3, -1.0, float("nan"), 3e38)) for _ in range(count)]
    made.zeroPoint = [rng.choice((0, 0, 1, -129, 2**40)) for _ in range(rng.choice((count, 0)))]
    made.quantizedDimension = rng.choice((0, 3, 9))
    return made


def _integer_operators(rng: Random) -> bytes:
    """Between input and output an operator on integers, with quantisation or without."""
    made = TfliteBuilder()
    lr = made.tensor([1, 8, 8, 3], name="lr")
    kind = rng.choice(_WIDER)
    pair = rng.random() < 0.6
    shape = rng.choice(([1, 8, 8, 3], [1, 8, 8, 3], [1, 0, 8, 3]))
    inside = [made.tensor(shape) for _ in range(3)]
    for index in inside:
        made.graph.tensors[index].type = kind
        if rng.random() < 0.4:
            made.graph.tensors[index].quantization = _quantization(rng)
    back, hr = made.tensor([1, 8, 8, 3]), made.tensor([1, 16, 16, 3], name="hr")
    into, out_of = rng.choice(("CAST", "QUANTIZE")), rng.choice(("CAST", "DEQUANTIZE"))
    for target in inside[: 1 + pair]:
        made.operator(into, [lr], [target], _default_options(into))
    name = rng.choice((_BINARY if pair else _UNARY).split())
    if (pair and name.endswith("EQUAL")) or name in ("LESS", "GREATER"):
        made.graph.tensors[inside[2]].type = schema.TensorType.BOOL
    made.operator(name, inside[: 1 + pair], [inside[2]], _default_options(name))
    made.operator(out_of, [inside[2]], [back], _default_options(out_of))
    size = made.constant(np.array([16, 16], np.int32))
    resize = "RESIZE_NEAREST_NEIGHBOR"
    made.operator(resize, [back, size], [hr], _default_options(resize))
    return made.finish([lr], [hr])


def _default_options(operator: str) -> Any:
    """An operator's options, with their defaults; None for an operator without any."""
    kind = "".join(word.capitalize() for word in operator.split("_")) + "Options"
    return options(kind) if hasattr(schema, f"{kind}T") else None
