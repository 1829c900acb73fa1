"""The facts inside every `.tflite` that edgesr makes: one definition, one validation."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    AliasChoices,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from edgesr.common.record import Record, first_problem
from edgesr.errors import ModelFileError
from edgesr.tflite.schema import buffer_bytes, parse_model, read_model_bytes

#: Name of the metadata entry inside the `.tflite` that holds the `Facts` as JSON.
FACTS_ENTRY = "EDGESR_FACTS"
_STATED_DIGEST = re.compile(rb'"content_sha256": ?"([0-9a-f]{64})"')
#: Stands for the digest until `seal` knows it.
UNSEALED = "unsealed" * 8


@dataclass(frozen=True)
class Reach:
    """Receptive field of an output pixel, for tiling.

    Attributes:
        radius: In pixels of the input; None where nothing that leads to the output has a bound.
        size_multiple: What tiles must begin at multiples of.
        whole_image: Whether something besides sees the whole image, or a grid of pixels that
            tiles do not keep; the radius is then that of the rest.
        why: The operator that does.
    """

    radius: int | None
    size_multiple: int = 1
    whole_image: bool = False
    why: str = ""


class Facts(Record):
    """Facts that an app needs to use the file, and the source of its weights.

    Attributes:
        model: Name of the network.
        scale: Upscaling factor.
        height: Rows of the input.
        width: Columns of the input.
        layout: Order of the dimensions of input and output.
        color: Order of the channels.
        dtype: Type of input and output; uint8 holds grey levels, 255 for 1.
        value_range: Smallest and largest value of input and output; the output is not clipped.
        precision: Type of the stored weights.
        receptive_radius: Pixels by which tiles must overlap on each inner side; None where it is
            not known.
        size_multiple: What tiles must begin at multiples of, in the image; 1 is not written.
        whole_image: Whether statistics over all pixels enter every pixel, so that tiles come near
            the network's result on the whole image and are not equal to it; only true is written.
        signature: Key of the signature.
        input_name: The signature's input.
        output_name: The signature's output.
        weights_sha256: Digest of the weights' names, shapes and values, whatever held them.
        weights_source: Where the weights come from.
        weights_licence: The licence of the weights.
        passes: The exact rewrites, in order.
        tool_versions: Versions of what made the file.
        content_sha256: Digest of the whole file without the bytes of this entry, see `seal`; None
            in files until 2026-11.
    """

    schema_version: Literal[1] = 1
    model: str
    scale: int = Field(ge=1)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB"] = "RGB"
    dtype: Literal["float32", "uint8"] = "float32"
    value_range: tuple[float, float] = (0.0, 1.0)
    precision: Literal["fp16", "fp32", "int8"]
    receptive_radius: int | None = Field(ge=0)
    size_multiple: int = Field(default=1, ge=1)
    whole_image: bool = Field(
        default=False, validation_alias=AliasChoices("whole_image", "whole_picture")
    )  # the second: files until 2026-11
    signature: str = "serving_default"
    input_name: str = "lr"
    output_name: str = "hr"
    weights_sha256: str
    weights_source: str
    weights_licence: str
    passes: tuple[str, ...]
    tool_versions: dict[str, str]
    content_sha256: str | None = None

    @property
    def reach(self) -> Reach:
        """How far an output pixel sees, and how tiles must lie."""
        return Reach(self.receptive_radius, self.size_multiple, self.whole_image)

    @model_serializer(mode="wrap")
    def _leave_out_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the fields that only some networks need: other files stay the same to the bit."""
        written: dict[str, Any] = handler(self)
        if self.size_multiple == 1:
            del written["size_multiple"]
        if not self.whole_image:
            del written["whole_image"]
        if self.content_sha256 is None:
            del written["content_sha256"]
        return written


def read_facts(path: Path) -> Facts | None:
    """Read the facts of a file; None if edgesr did not make it.

    Raises:
        ModelFileError: The file is missing, truncated, damaged or changed since edgesr wrote it, or
            its facts are not of this schema.
    """
    return facts_in(read_model_bytes(path), path)


def facts_in(content: bytes, path: Path) -> Facts | None:
    """Read the facts in a file's bytes, and hold the rest of the file against its digest.

    Args:
        content: The whole file.
        path: Its name, for messages.

    Raises:
        ModelFileError: As `read_facts`.
    """
    text = _entry(content, str(path))
    if text is None:
        return None
    facts = parse_facts(text, path)
    if facts.content_sha256 not in (None, _digest_without(content, text)):
        raise ModelFileError(
            f"{path} was changed or damaged after edgesr wrote it: its digest is not the one in "
            f"its {FACTS_ENTRY}; convert or copy it anew"
        )
    return facts


def seal(content: bytes) -> bytes:
    """Write a file's digest into its facts, in place of `UNSEALED`.

    Any other byte that changes later, of a weight or of the structure, is found when the file is
    opened. Hashing a shipped file takes about a millisecond.

    Args:
        content: A `.tflite` whose facts hold `UNSEALED` as `content_sha256`.
    """
    text = _entry(content, "the file")
    if text is None or text.count(UNSEALED.encode()) != 1:
        raise ValueError("the facts hold no place for a digest")
    return content.replace(
        text, text.replace(UNSEALED.encode(), _digest_without(content, text).encode())
    )


def reseal(content: bytes) -> bytes:
    """Write the digest of a file that edgesr itself has changed; nothing happens to others' files.

    Args:
        content: A `.tflite`, with facts or without.
    """
    text = _entry(content, "the file")
    stated = _STATED_DIGEST.search(text) if text is not None else None
    if text is None or stated is None:
        return content
    unsealed = text.replace(stated[1], UNSEALED.encode())
    return seal(content.replace(text, unsealed))


def _entry(content: bytes, name: str) -> bytes | None:
    model = parse_model(content, name)
    for entry in model["metadata"]:
        if entry["name"] == FACTS_ENTRY.encode():
            return bytes(buffer_bytes(content, model["buffers"][entry["buffer"]]))
    return None


def _digest_without(content: bytes, text: bytes) -> str:
    before, _, after = content.partition(text)
    return hashlib.sha256(before + after).hexdigest()


def parse_facts(text: bytes, path: Path) -> Facts:
    """Validate the text of a file's facts entry.

    Args:
        text: JSON.
        path: The file, for the message.

    Raises:
        ModelFileError: It is damaged, or not of this schema.
    """
    try:
        return Facts.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ModelFileError(
            f"{path}: its {FACTS_ENTRY} are damaged or of a newer edgesr ({first_problem(error)})"
        ) from error


def read_reach(path: Path) -> Reach | None:
    """Read how far the network of a file sees; None if edgesr did not make the file.

    Raises:
        ModelFileError: As `read_facts`.
    """
    facts = read_facts(path)
    return facts.reach if facts else None
