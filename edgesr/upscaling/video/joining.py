"""Put finished segments and all else of the source into one file, without encoding again."""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgesr.errors import VideoError
from edgesr.upscaling.video.kinds import CONTAINERS
from edgesr.upscaling.video.segments import (
    SEGMENT_FRAMES,
    Encoding,
    describe,
    segment_path,
    writing,
)
from edgesr.upscaling.video.source import VideoFacts, is_cover, opened

# What the muxer writes itself.
_OWN_KEYS = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
_STREAM_KEYS = ("encoder", "vendor_id", "rotate", "duration", "number_of_frames", "creation_time")
# Apple's cameras write names of their own, which MP4 and MOV are not written with.
_APPLE_KEYS = {
    "com.apple.quicktime.location.iso6709": "location",
    "com.apple.quicktime.make": "make",
    "com.apple.quicktime.model": "model",
}

# Units of MP4's times per second, of 32 bits.
_LARGEST_UNIT = 2**31 - 1

#: When a frame is shown and for how long, in the order of showing.
Timing = Sequence[tuple[int, int]]


def check_streams(source: VideoFacts, target: Path) -> tuple[str, ...]:
    """Tell early what the output's container does not hold.

    Returns:
        Notes on what is left out: subtitles, attachments and data.

    Raises:
        VideoError: It does not hold the sound.
    """
    kept, lost = set[str](), list[str]()
    with opened(source.path) as container:
        for stream in _others(container, source):
            if _fits(stream, target):
                kept.add(stream.type)
            elif stream.type == "audio":
                raise VideoError(
                    f"{target}: {_container(target)} does not hold the sound of {source.path} "
                    f"({_codec(stream)}); use .mkv"
                )
            elif stream.type in ("subtitle", "attachment"):
                lost.append(f"{stream.type} ({_codec(stream)})")
    return tuple(
        f"{_container(target)} does not hold this, it is left out: {what}" for what in lost
    )


def join(folder: Path, timing: Timing, encoding: Encoding, part: Path) -> None:
    """Write the output.

    Args:
        folder: Where the segments lie.
        timing: Of all frames.
        encoding: How they were made, and of what.
        part: The file to write.

    Raises:
        OutputError: It cannot be written.
        VideoError: The source cannot be read any more.
    """
    import av

    source = encoding.source
    segments = -(-len(timing) // SEGMENT_FRAMES)
    movie = CONTAINERS[part.suffix.lower()] in ("mp4", "mov")
    options: dict[str, str] = {}
    if movie:
        # Where streams begin is stored in this unit, and rounded to thousandths else.
        unit = max(1000, source.time_base.denominator)
        options = {"movflags": "+faststart", "movie_timescale": str(min(unit, _LARGEST_UNIT))}
    with opened(source.path) as container, writing(part):
        kind = CONTAINERS[part.suffix.lower()]
        with av.open(str(part), "w", format=kind, options=options) as out:
            streams: dict[int, Any] = {}
            for stream in container.streams:
                if stream.index == source.stream:
                    streams[stream.index] = _add_video(out, folder, encoding, stream, movie=movie)
                elif _is_copied(stream) and _fits(stream, part):
                    streams[stream.index] = _add_copy(out, stream)
            video = streams.pop(source.stream)
            out.metadata.update(_metadata(container.metadata))
            if container.chapters():
                out.set_chapters(container.chapters())
            copied = _copied_packets(container, streams)
            encoded = _encoded_packets(folder, segments, timing, source, video)
            for _, _, packet in heapq.merge(encoded, copied, key=lambda item: item[:2]):
                out.mux(packet)


def _add_video(
    out: Any,  # noqa: ANN401
    folder: Path,
    encoding: Encoding,
    original: Any,  # noqa: ANN401
    *,
    movie: bool,
) -> Any:  # noqa: ANN401
    import av

    with av.open(str(segment_path(folder, 0))) as segment:
        template = segment.streams.video[0]
        stream = out.add_stream_from_template(template, opaque=True)
    stream.time_base = original.time_base
    describe(stream.codec_context, encoding)  # segments keep only what the codec itself does
    if movie and stream.codec_context.name.startswith("hevc"):
        stream.codec_context.codec_tag = "hvc1"  # Apple's players take no other
    _describe(stream, original)
    return stream


def _add_copy(out: Any, original: Any) -> Any:  # noqa: ANN401
    stream = out.add_stream_from_template(original, opaque=True)
    _describe(stream, original)
    return stream


def _describe(stream: Any, original: Any) -> None:  # noqa: ANN401
    stream.metadata.update(
        {key: value for key, value in original.metadata.items() if key not in _STREAM_KEYS}
    )
    stream.disposition = original.disposition


def _metadata(found: dict[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in found.items() if key.lower() not in _OWN_KEYS}
    for key, value in found.items():
        plain = _APPLE_KEYS.get(key.lower())
        if plain is not None:
            kept.setdefault(plain, value)
    return kept


def _copied_packets(
    container: Any,  # noqa: ANN401
    streams: dict[int, Any],
) -> Iterator[tuple[float, int, Any]]:
    """Packets of streams that are not encoded anew, with their times in seconds."""
    originals = [container.streams[index] for index in streams]
    if not originals:
        return
    latest = float("-inf")
    for packet in container.demux(originals):
        time = packet.dts if packet.dts is not None else packet.pts
        if time is None and not packet.size:
            continue  # the end
        if time is not None:
            latest = max(latest, float(time * packet.time_base))
        packet.stream = streams[packet.stream.index]
        yield latest, 1, packet


def _encoded_packets(
    folder: Path,
    segments: int,
    timing: Timing,
    source: VideoFacts,
    stream: Any,  # noqa: ANN401
) -> Iterator[tuple[float, int, Any]]:
    """Packets of all segments with times as in the source, and decoding times that rise."""
    shown = [time for time, _ in timing]
    ends = dict(itertools.pairwise(shown))
    if shown:
        usual = round(1 / (source.rate * source.time_base))
        ends[shown[-1]] = shown[-1] + (timing[-1][1] or max(1, usual))
    decoded = [time for number in range(segments) for time in _times(folder, number, shown)]
    if len(decoded) != len(shown):
        raise VideoError(
            f"{source.path}: the encoder gave {len(decoded)} frames, allowed {len(shown)}; try "
            "another --codec"
        )
    delay = _delay(decoded, shown)
    packets = (packet for number in range(segments) for packet in _packets(folder, number))
    for index, (packet, time) in enumerate(zip(packets, decoded, strict=True)):
        packet.pts = time
        packet.dts = (
            shown[index - delay] if index >= delay else shown[index] - (shown[delay] - shown[0])
        )
        packet.time_base = source.time_base
        packet.duration = ends[time] - time
        packet.stream = stream
        yield float(packet.dts * source.time_base), 0, packet


def _times(folder: Path, number: int, shown: Sequence[int]) -> list[int]:
    """When the frames of a segment are shown, in the order of decoding.

    The order of showing is taken from the segment, and the times are not: its container may move
    all of them.
    """
    first = number * SEGMENT_FRAMES
    stored = [packet.pts for packet in _packets(folder, number)]
    times = dict(zip(sorted(stored), shown[first : first + SEGMENT_FRAMES], strict=False))
    return [times[pts] for pts in stored if pts in times]


def _delay(decoded: Sequence[int], shown: Sequence[int]) -> int:
    """By how many frames decoding must go before showing: none is shown before it is decoded."""
    delay = 0
    for index, time in enumerate(decoded):
        while shown[max(0, index - delay)] > time:
            delay += 1
    return min(delay, max(0, len(shown) - 1))


def _packets(folder: Path, number: int) -> Iterator[Any]:
    """The packets of a segment in the order of decoding."""
    import av

    with av.open(str(segment_path(folder, number))) as segment:
        for packet in segment.demux(video=0):
            if packet.size:
                yield packet


def _others(container: Any, source: VideoFacts) -> Iterator[Any]:  # noqa: ANN401
    for stream in container.streams:
        if stream.index != source.stream and _is_copied(stream):
            yield stream


def _is_copied(stream: Any) -> bool:  # noqa: ANN401
    """Whether it is kept: sound, subtitles, covers and fonts, no further moving pictures."""
    if stream.type == "video":
        return is_cover(stream)
    return stream.type in ("audio", "subtitle", "attachment")


def _fits(stream: Any, target: Path) -> bool:  # noqa: ANN401
    """Whether the output's container holds a stream."""
    import av

    kind = CONTAINERS[target.suffix.lower()]
    if stream.type == "attachment":
        return kind == "matroska"
    if getattr(stream, "codec_context", None) is None:
        return False
    if stream.type == "video":
        return kind != "webm"
    return _codec(stream) in _held(av, kind)


def _held(av: Any, kind: str) -> frozenset[str]:  # noqa: ANN401
    import io

    with av.open(io.BytesIO(), "w", format=kind) as out:
        return frozenset(out.supported_codecs)


def _codec(stream: Any) -> str:  # noqa: ANN401
    context = getattr(stream, "codec_context", None)
    return "unknown" if context is None else str(context.codec.canonical_name)


def _container(target: Path) -> str:
    return {"mp4": "MP4", "mov": "MOV", "matroska": "Matroska", "webm": "WebM"}[
        CONTAINERS[target.suffix.lower()]
    ]
