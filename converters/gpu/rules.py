"""Rules of the TFLite GPU delegate and its successor ML Drift, as data.

Sources: LiteRT's `tflite/tools/versioning/gpu_compatibility.cc` (the gate),
`tflite/delegates/gpu/common/model_builder.cc` (version caps, tensor types, what the parsers read)
and the results on phones for ML Drift in LiteRT-Models' conversion guide. Where the two engines
differ, the stricter one counts. What depends on a device or on the runtime's version is a caution.
converters/gpu/checker.py applies them.
"""

from dataclasses import dataclass

from edgesr.common.compat import StrEnum
from edgesr.tflite.model import OperatorView, TensorView


class Severity(StrEnum):
    """Consequence of a rule violation."""

    REFUSED = "refused"  # the operator falls back to the CPU, or the file is refused
    CAUTION = "caution"  # some devices or versions refuse it, or compute something else


@dataclass(frozen=True)
class Rule:
    """One rule of the GPU delegate.

    Attributes:
        id: Stable name.
        sentence: What is allowed.
        remedy: How to remove a violation.
        severity: Consequence of a violation.
    """

    id: str
    sentence: str
    remedy: str
    severity: Severity = Severity.REFUSED


#: The remedy for a file that another converter made.
CONVERT = "convert the network with `edgesr convert`"
_SHUFFLE = (
    "reshape and transpose in four dimensions at most; where they are a PixelShuffle, write it as "
    "one DEPTH_TO_SPACE: `edgesr convert`, pass depth_to_space"
)
_SPLIT = "read whole tensors with zero weights instead: `edgesr convert`, pass split_free"

#: Every rule by its id.
RULES = {
    rule.id: rule
    for rule in (
        Rule("gpu-flex", "no TensorFlow (Flex) operator: phones have no kernel for it", CONVERT),
        Rule("gpu-custom", "no custom operator", CONVERT),
        Rule("gpu-operator", "only operators that the GPU has a kernel for", CONVERT),
        Rule(
            "gpu-relu-0-to-1",
            "no RELU_0_TO_1: ML Drift rejects it",
            "leave the clipping to the app, or write relu(x) - relu(x - 1)",
        ),
        Rule(
            "gpu-version",
            "no newer version of an operator than the GPU delegate's parser accepts",
            "convert again without the feature that raised the version",
        ),
        Rule("gpu-rank", "tensors of rank 1 to 4", "reshape in four dimensions at most"),
        Rule("gpu-static", "fixed sizes", "convert at a fixed size: `edgesr convert --size HxW`"),
        Rule(
            "gpu-batch", "a batch of 1: the OpenGL backend accepts no other", "convert with batch 1"
        ),
        Rule("gpu-type", "float32 or float16 activations", "convert without integer activations"),
        Rule(
            "gpu-quantized",
            "float activations: quantised ones are emulated in float, which is no faster",
            "convert with `edgesr convert --fp16`",
            Severity.CAUTION,
        ),
        Rule(
            "gpu-dequantize",
            "DEQUANTIZE only of constants in FP16",
            "convert with `edgesr convert --fp16`",
        ),
        Rule(
            "gpu-activation",
            "fused activations NONE, RELU, RELU_N1_TO_1, RELU6 and TANH",
            "make the activation an operator of its own",
        ),
        Rule(
            "gpu-runtime-input",
            "at least one input that is no constant",
            "fold the operator into a constant when converting",
        ),
        Rule(
            "gpu-parameter",
            "biases, shapes, paddings, permutations and axes as constants, whole numbers in int32",
            "make it a constant when converting",
        ),
        Rule(
            "gpu-broadcast",
            "one operand of the output's shape; the other of that shape too, or 1 along some "
            "dimensions, [C], or one number",
            "give both operands the same shape",
        ),
        Rule("gpu-block-size", "a block size above 1", "leave the operator out"),
        Rule(
            "gpu-prelu",
            "PRELU with one slope per channel [C], or of exactly the input's height, width, "
            "channels",
            "use LeakyReLU, or one slope per channel",
        ),
        Rule(
            "gpu-slice",
            "slices of rank 3 or 4, forwards, without ellipsis, new-axis or shrink-axis mask",
            _SPLIT,
        ),
        Rule("gpu-pad", "paddings of shape 4x2 or 3x2; MIRROR_PAD only REFLECT", "pad by zeros"),
        Rule("gpu-softmax", "SOFTMAX with beta 1", "multiply before it"),
        Rule("gpu-weights-format", "plain weights of FULLY_CONNECTED", "convert again"),
        Rule(
            "gpu-resize",
            "align_corners and half_pixel_centers not both",
            "set one of them",
        ),
        Rule(
            "gpu-gather",
            "no GATHER where old runtimes matter: refused up to TensorFlow 2.12",
            "permute the channels in the convolution before it: `edgesr convert`, pass "
            "depth_to_space",
            Severity.CAUTION,
        ),
        Rule(
            "gpu-transpose-conv",
            "no TRANSPOSE_CONV: ML Drift refuses it on some devices (Pixel 8a)",
            "upsample by a convolution and DEPTH_TO_SPACE",
            Severity.CAUTION,
        ),
        Rule(
            "gpu-resize-nearest",
            "no RESIZE_NEAREST_NEIGHBOR: ML Drift rounds differently between the pixels",
            "repeat the channels before DEPTH_TO_SPACE",
            Severity.CAUTION,
        ),
    )
}

# Remedies for one operator that are more specific than the rule's own.
_REMEDIES = {
    ("gpu-flex", "FlexSplitV"): _SPLIT,
    ("gpu-flex", "FlexSplit"): _SPLIT,
    ("gpu-rank", "RESHAPE"): _SHUFFLE,
    ("gpu-rank", "TRANSPOSE"): _SHUFFLE,
    ("gpu-version", "TRANSPOSE"): _SHUFFLE,
}


@dataclass(frozen=True)
class Violation:
    """One operator that breaks one rule.

    Attributes:
        rule: The rule's id.
        severity: Its consequence.
        operator_index: The operator's place in the order of execution.
        operator: Its name.
        tensor: The tensor at fault; None where no tensor is.
        shape: The shape of that tensor.
        found: What was found.
        allowed: What the rule allows.
        remedy: How to remove the violation.
    """

    rule: str
    severity: Severity
    operator_index: int
    operator: str
    tensor: str | None
    shape: tuple[int, ...] | None
    found: str
    allowed: str
    remedy: str

    def __str__(self) -> str:
        where = f"operator {self.operator_index} {self.operator}"
        if self.tensor is not None and self.shape is not None:
            where += f", tensor {self.tensor} {list(self.shape)}"
        wanted = f"the GPU delegate accepts {self.allowed}"
        return f"{where}: got {self.found}; {wanted} ({self.rule}); {self.remedy}"


def violation(
    rule_id: str, operator: OperatorView, tensor: TensorView | None, found: str
) -> Violation:
    """Build the violation of a rule by an operator.

    Args:
        rule_id: The rule.
        operator: The operator that breaks it.
        tensor: The tensor at fault; None where no tensor is.
        found: What was found.
    """
    rule = RULES[rule_id]
    return Violation(
        rule=rule.id,
        severity=rule.severity,
        operator_index=operator.index,
        operator=operator.name,
        tensor=tensor.name if tensor else None,
        shape=tensor.shape if tensor else None,
        found=found,
        allowed=rule.sentence,
        remedy=_REMEDIES.get((rule.id, operator.name), rule.remedy),
    )
