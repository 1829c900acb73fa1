"""Inputs, outputs and options that the native kernels require of operators.

Counts and options are those of TensorFlow Lite's `schema.fbs` and `kernels/*.cc`: a kernel that
finds fewer inputs, or no options, than it was built for reads through a null pointer.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Signature:
    """What one built-in operator needs.

    Attributes:
        name: As in `schema.fbs`.
        inputs: Inputs that must be there; -1 (left out) is not allowed among them.
        optional: Inputs that may follow; None: any number.
        outputs: Outputs; None: one or more.
        options: Number of the options table (`BuiltinOptions`) that must be there; 0: none need be.
    """

    name: str
    inputs: int
    optional: int | None
    outputs: int | None
    options: int


# name, number, inputs (+optional, or * for any number more), outputs (* for any), options
_TABLE = """
ABS 101 1 1 0
ADD 0 2 1 11
ADD_N 106 2* 1 0
ARG_MAX 56 2 1 40
ARG_MIN 79 2 1 57
ATAN2 156 2 1 0
AVERAGE_POOL_2D 1 1 1 5
BATCH_MATMUL 126 2 1 101
BATCH_TO_SPACE_ND 37 3 1 0
BROADCAST_ARGS 145 2 1 0
BROADCAST_TO 130 2 1 0
CAST 53 1 1 0
CEIL 104 1 1 0
CONCATENATION 2 1* 1 10
CONV_2D 3 2+1 1 1
COS 108 1 1 0
CUMSUM 128 2 1 102
DEPTHWISE_CONV_2D 4 2+1 1 2
DEPTH_TO_SPACE 5 1 1 94
DEQUANTIZE 6 1 1 0
DIV 42 2 1 29
ELU 111 1 1 0
EQUAL 71 2 1 0
EXP 47 1 1 0
EXPAND_DIMS 70 2 1 0
FILL 94 2 1 0
FLOOR 8 1 1 0
FLOOR_DIV 90 2 1 0
FLOOR_MOD 95 2 1 0
FULLY_CONNECTED 9 2+1 1 8
GATHER 36 2 1 23
GATHER_ND 107 2 1 0
GELU 150 1 1 116
GREATER 61 2 1 0
GREATER_EQUAL 62 2 1 0
HARD_SWISH 117 1 1 0
L2_NORMALIZATION 11 1 1 12
LEAKY_RELU 98 1 1 75
LESS 58 2 1 0
LESS_EQUAL 63 2 1 0
LOG 73 1 1 0
LOGICAL_AND 86 2 1 0
LOGICAL_NOT 87 1 1 0
LOGICAL_OR 84 2 1 0
LOGISTIC 14 1 1 0
LOG_SOFTMAX 50 1 1 0
MAXIMUM 55 2 1 0
MAX_POOL_2D 17 1 1 5
MEAN 40 2 1 27
MINIMUM 57 2 1 0
MIRROR_PAD 100 2 1 77
MUL 18 2 1 21
NEG 59 1 1 0
NOT_EQUAL 72 2 1 0
PACK 83 1* 1 59
PAD 34 2 1 0
PADV2 60 3 1 0
POW 78 2 1 0
PRELU 54 2 1 0
QUANTIZE 114 1 1 0
RANGE 96 3 1 0
REDUCE_ALL 140 2 1 27
REDUCE_ANY 91 2 1 27
REDUCE_MAX 82 2 1 27
REDUCE_MIN 89 2 1 27
REDUCE_PROD 81 2 1 27
RELU 19 1 1 0
RELU6 21 1 1 0
RELU_0_TO_1 152 1 1 0
RELU_N1_TO_1 20 1 1 0
RESHAPE 22 1+1 1 0
RESIZE_BILINEAR 23 2 1 15
RESIZE_NEAREST_NEIGHBOR 97 2 1 74
REVERSE_V2 105 2 1 0
ROUND 116 1 1 0
RSQRT 76 1 1 0
SELECT 64 3 1 0
SELECT_V2 123 3 1 0
SHAPE 77 1 1 55
SIGN 158 1 1 0
SIN 66 1 1 0
SLICE 65 3 1 0
SOFTMAX 25 1 1 9
SPACE_TO_BATCH_ND 38 3 1 0
SPACE_TO_DEPTH 26 1 1 19
SPLIT 49 2 * 35
SPLIT_V 102 3 * 79
SQRT 75 1 1 0
SQUARE 92 1 1 0
SQUARED_DIFFERENCE 99 2 1 0
SQUEEZE 43 1 1 30
STRIDED_SLICE 45 4 1 32
SUB 41 2 1 28
SUM 74 2 1 27
TANH 28 1 1 0
TILE 69 2 1 0
TRANSPOSE 39 2 1 0
TRANSPOSE_CONV 67 3+1 1 49
UNPACK 88 1 * 64
ZEROS_LIKE 93 1 1 0
"""


def _signature(line: str) -> tuple[int, Signature]:
    name, code, inputs, outputs, options = line.split()
    required, _, optional = inputs.rstrip("*").partition("+")
    return int(code), Signature(
        name=name,
        inputs=int(required),
        optional=None if inputs.endswith("*") else int(optional or 0),
        outputs=None if outputs == "*" else int(outputs),
        options=int(options),
    )


#: Number of a built-in operator -> what it needs.
SIGNATURES: dict[int, Signature] = dict(map(_signature, _TABLE.strip().splitlines()))

#: Number of `CUSTOM`: the operator has a name, and its kernel comes from elsewhere.
CUSTOM = 32
