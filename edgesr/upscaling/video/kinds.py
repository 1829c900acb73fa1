"""What is a video, what can be written, and by which encoder."""

from dataclasses import dataclass
from pathlib import Path

from edgesr.common.inputs import check_regular
from edgesr.errors import OptionError, VideoError
from edgesr.images.files import HEAD_BYTES, sniff_format

#: File name suffixes of videos that folders are searched for.
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".mts", ".m2ts", ".wmv", ".flv",
    ".mpg", ".mpeg", ".ogv",
)  # fmt: skip

#: File name suffixes of videos that can be written -> libavformat's name of the container.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}

#: Container -> the codecs of `ENCODERS` that it holds.
_HELD = {
    "mp4": ("h264", "hevc", "av1", "vp9"),
    "mov": ("h264", "hevc"),
    "matroska": ("h264", "hevc", "av1", "vp9", "ffv1"),
    "webm": ("vp9", "av1"),
}

_SIGNATURES = (b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75")


@dataclass(frozen=True)
class Encoder:
    """A way to encode video.

    Attributes:
        codec: Its name for users.
        library: Its name in FFmpeg.
        crf: The quality used by default, lower is better; None where it is lossless.
        highest_crf: The worst quality.
        options: More of FFmpeg's options.
        deep: Whether it holds more than 8 bits.
        states_aspect: Whether it states the shape of pixels itself, whatever the container does.
    """

    codec: str
    library: str
    crf: int | None
    highest_crf: int
    options: dict[str, str]
    deep: bool = True
    states_aspect: bool = False


#: By the name that users give.
ENCODERS = {
    encoder.codec: encoder
    for encoder in (
        Encoder("h264", "libx264", 16, 51, {"preset": "fast"}, states_aspect=True),
        Encoder(
            "hevc",
            "libx265",
            18,
            51,
            {"preset": "fast", "x265-params": "log-level=none"},
            states_aspect=True,
        ),
        Encoder("av1", "libsvtav1", 22, 63, {"preset": "8"}),
        Encoder("vp9", "libvpx-vp9", 20, 63, {"b:v": "0", "row-mt": "1", "cpu-used": "4"}, False),
        Encoder("ffv1", "ffv1", None, 0, {"level": "3"}),
    )
}


@dataclass(frozen=True)
class VideoSettings:
    """What the user chose for videos: encoder, quality, whether to go on.

    Attributes:
        codec: A name of `ENCODERS`; None for the usual one.
        crf: Its quality, lower is better; None for the usual one.
        resume: Whether an interrupted video goes on where it stopped.
        model: All of the network that the result depends on.
    """

    codec: str | None = None
    crf: int | None = None
    resume: bool = False
    model: str = ""


def is_video(path: Path, target: Path | None = None) -> bool:
    """Whether a file is taken for a video: by its content, else by its name or its result's.

    A file that is an image by its content is none, whatever its name.
    """
    named = path.suffix.lower() in VIDEO_SUFFIXES
    named = named or (target is not None and target.suffix.lower() in CONTAINERS)
    try:
        check_regular(path, VideoError)  # a pipe would block
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (VideoError, OSError):
        return named
    if sniff_format(head) is not None:
        return False
    known = head.startswith(_SIGNATURES) or head[4:8] == b"ftyp"
    known = known or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    return known or named


def video_suffix(source: Path) -> str:
    """The suffix of a video's result: its own where such can be written, else MP4's."""
    return source.suffix if source.suffix.lower() in CONTAINERS else ".mp4"


def check_target(target: Path) -> None:
    """Refuse a name that stands for no video that can be written.

    Raises:
        VideoError: It is one.
    """
    if target.suffix.lower() not in CONTAINERS:
        raise VideoError(
            f"{target}: got suffix {target.suffix or '(none)'} for a video, allowed "
            f"{', '.join(CONTAINERS)}"
        )


def choose_encoder(codec: str | None, crf: int | None, target: Path, bits: int) -> Encoder:
    """Choose an encoder that the container takes and that PyAV has.

    Args:
        codec: A name of `ENCODERS`; None for VP9 in WebM, HEVC for more than 8 bits, else H.264,
            which everything plays.
        crf: The quality that is wanted.
        target: The file to write.
        bits: Bits of the video's numbers.

    Raises:
        VideoError: The container does not hold the codec.
        OptionError: The codec is unknown, or the quality out of range.
    """
    webm = CONTAINERS[target.suffix.lower()] == "webm"
    usual = "vp9" if webm else "hevc" if bits > 8 else "h264"
    if codec is not None and codec not in ENCODERS:
        raise OptionError(f"got codec {codec!r}, allowed {', '.join(ENCODERS)}")
    encoder = ENCODERS[codec or usual]
    held = _HELD[CONTAINERS[target.suffix.lower()]]
    if encoder.codec not in held:
        raise VideoError(
            f"{target}: got codec {encoder.codec}, allowed in {target.suffix} {', '.join(held)}; "
            "use .mkv, which holds all"
        )
    check_crf(encoder, crf)
    return encoder


def check_crf(encoder: Encoder, crf: int | None) -> None:
    """Refuse a quality that an encoder does not have.

    Raises:
        OptionError: It does not.
    """
    if crf is None:
        return
    if encoder.crf is None:
        raise OptionError(f"got crf {crf} for {encoder.codec}, which is lossless; leave it out")
    if not 0 <= crf <= encoder.highest_crf:
        raise OptionError(
            f"got crf {crf} for {encoder.codec}, allowed 0 (best) to {encoder.highest_crf}"
        )
