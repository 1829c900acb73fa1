"""Damaged and false image files through `edgesr upscale` and `edgesr metrics`.

The network gives every pixel as 2x2 equal ones, so that what another decoder reads of the file says
exactly what must come out.
"""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from random import Random

import pillow_heif
from PIL import Image, ImageCms

from fuzz.case import Case, damage
from fuzz.image_reference import check_metrics, check_upscaled
from helpers.image_files import png_chunk, smooth_pixels
from helpers.small_net import SmallNet

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_BOXES = (
    *(b"ftyp", b"meta", b"iinf", b"iloc", b"iprp", b"ispe", b"pixi", b"irot", b"auxC", b"colr"),
    *(b"mdat", b"moov", b"stts", b"stsz", b"tkhd", b"av1C", b"hvcC"),
)
_SIDES = (0, 1, 2, 7, 19, 21, 255, 32816, 60000, 2**31 - 1, 2**31, 2**32 - 1)


@cache
def network() -> bytes:
    """A `.tflite` that gives every pixel as 2x2 equal ones."""
    return SmallNet(scale=2, radius=1, detail=0.0).tflite(16, 24)


def good_image() -> bytes:
    """A good PNG of 20x30 pixels."""
    return _good("PNG")


def make(rng: Random) -> Case:
    """An image, most often bad, and the command on it."""
    suffix, content = _png(rng) if rng.random() < 0.5 else _written(rng)
    for _ in range(rng.choice((0, 1, 1, 2))):
        content = _edit(content, rng)
    name = f"in{suffix}" if rng.random() < 0.9 else "in.png"
    if rng.random() < 0.2:
        other = _good("PNG")
        check = partial(check_metrics, content, other)
        return Case(["metrics", name, "b.png", "--json"], {name: content, "b.png": other}, check)
    target = rng.choice(("out.png", "out.png", "out.png", "out.webp", "out.jpg"))
    words = ["upscale", name, "-m", "net.tflite", "-o", target]
    check = partial(check_upscaled, content) if target == "out.png" else None
    return Case(words, {name: content, "net.tflite": network()}, check)


def _png(rng: Random) -> tuple[str, bytes]:
    """A PNG of any colour type and depth, valid but for its pixel data's length at times."""
    colour = rng.choice(list(_DEPTHS))
    depth = rng.choice(_DEPTHS[colour])
    height, width = rng.choice(((20, 30), (1, 1), (3, 70), (33, 5)))
    row = 1 + (width * depth * _CHANNELS[colour] + 7) // 8
    raw = b"".join(b"\0" + rng.randbytes(row - 1) for _ in range(height))
    colours = 1 << depth
    before: list[bytes] = []
    if colour == 3:
        before.append(png_chunk(b"PLTE", rng.randbytes(3 * colours)))
    if colour in (0, 2, 3) and rng.random() < 0.4:
        before.append(png_chunk(b"tRNS", _transparency(colour, depth, rng)))
    before += [png_chunk(*extra) for extra in rng.sample(_extras(rng), rng.choice((0, 0, 1, 2)))]
    kept = rng.choice((len(raw), len(raw), len(raw), row, len(raw) - 1, 0))
    data = zlib.compress(raw[:kept] + rng.choice((b"", b"", b"", b"more")))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", head), *before, png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")]
    return ".png", _SIGNATURE + b"".join(chunks)


def _transparency(colour: int, depth: int, rng: Random) -> bytes:
    if colour == 3:
        return rng.randbytes(rng.randrange(1, (1 << depth) + 1))
    return struct.pack(f">{_CHANNELS[colour]}H", *[rng.randrange(1 << depth)] * _CHANNELS[colour])


def _exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


@cache
def _bomb() -> bytes:
    return zlib.compress(bytes(200 << 20))


def _extras(rng: Random) -> list[tuple[bytes, bytes]]:
    """Chunks that a PNG may carry: name and body."""
    exif = _exif(rng.randrange(1, 9))
    hexed = b"\nexif\n%8d\n%s\n" % (len(exif), exif.hex().encode())
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return [
        (b"eXIf", exif.removeprefix(b"Exif\0\0")),
        (b"eXIf", rng.randbytes(rng.randrange(40))),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexed)),
        (b"zTXt", b"Comment\0\0" + _bomb()),
        (b"iTXt", b"Comment\0\1\0\0\0" + _bomb()),
        (b"tEXt", b"Title\0" + "\x1b[31m\u202e".encode("utf-16")),
        (b"iCCP", b"ICC\0\0" + zlib.compress(profile)),
        (b"iCCP", b"ICC\0\0" + rng.choice((_bomb(), b"junk", zlib.compress(profile[:200])))),
        (b"gAMA", struct.pack(">I", rng.choice((0, 45455, 2**32 - 1)))),
        (b"acTL", struct.pack(">II", rng.choice((0, 1, 2**31)), 0)),
        (b"fcTL", rng.randbytes(26)),
        (b"PLTE", rng.randbytes(rng.choice((0, 3, 5, 900)))),
        (b"IDAT", b""),
        (b"abCd", rng.randbytes(10)),
        (b"ABCD", rng.randbytes(10)),
    ]


@cache
def _good(kind: str, mode: str = "RGB", orientation: int = 0, **options: object) -> bytes:
    """A good file of some format, as Pillow writes it."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = smooth_pixels(channels)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
    if orientation:
        options["exif"] = _exif(orientation)
    if options.get("save_all"):
        options["append_images"] = [Image.new(mode, image.size)]
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _written(rng: Random) -> tuple[str, bytes]:
    """A good file of any format that edgesr reads, or is to refuse."""
    turned = rng.choice((0, 0, *range(1, 9)))
    makers: dict[str, Callable[[], bytes]] = {
        ".jpg": lambda: _good("JPEG", rng.choice(("RGB", "L", "CMYK")), turned, progressive=True),
        ".jpeg": lambda: _good("JPEG", "RGB", turned, subsampling=rng.choice((0, 1, 2))),
        ".webp": lambda: _good("WEBP", rng.choice(("RGB", "RGBA")), turned, lossless=True),
        ".WEBP": lambda: _good("WEBP", "RGB", turned, quality=80),
        ".png": lambda: _good("PNG", rng.choice(("RGB", "RGBA", "LA", "L")), turned),
        ".gif": lambda: _good("GIF", "L"),
        ".tiff": lambda: _good("TIFF"),
        ".bmp": lambda: _good("BMP"),
        ".apng": lambda: _good("PNG", save_all=True),
        ".anim.webp": lambda: _good("WEBP", save_all=True),
        ".anim.gif": lambda: _good("GIF", "L", save_all=True, duration=40, loop=0),
        ".pages.tif": lambda: _good("TIFF", save_all=True),
        ".avif": lambda: _good("AVIF", rng.choice(("RGB", "RGBA")), turned, quality=90),
        ".anim.avif": lambda: _good("AVIF", save_all=True),
        ".heic": lambda: _good("HEIF", rng.choice(("RGB", "RGBA")), turned),
        ".ico": lambda: _good("ICO"),
        ".jp2": lambda: _good("JPEG2000"),
    }
    suffix = rng.choice([*makers, ".jpg", ".jpeg", ".webp", ".WEBP"])
    return suffix, makers[suffix]()


def _edit(content: bytes, rng: Random) -> bytes:
    """Damage bytes anywhere, or edit the structure of a format and keep it well-formed."""
    if rng.random() < 0.5:
        return damage(content, rng)
    if content.startswith(_SIGNATURE):
        return _edit_png(content, rng)
    if content[:4] == b"RIFF":
        return _edit_riff(content, rng)
    if content[4:8] == b"ftyp":
        return _edit_boxes(content, rng)
    return _edit_jpeg(content, rng)


def _edit_png(content: bytes, rng: Random) -> bytes:
    """Change, remove, repeat or move a chunk; its checksum is right."""
    chunks: list[tuple[bytes, bytes]] = []
    at = len(_SIGNATURE)
    while at + 12 <= len(content):
        length = struct.unpack_from(">I", content, at)[0]
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return content
    where = rng.randrange(len(chunks))
    name, body = chunks[where]
    match rng.randrange(7):
        case 0:
            del chunks[where]
        case 1:
            chunks.insert(rng.randrange(len(chunks) + 1), chunks[where])
        case 2:
            chunks.insert(rng.randrange(len(chunks)), chunks.pop(where))
        case 3:
            chunks.insert(rng.randrange(1, len(chunks) + 1), rng.choice(_extras(rng)))
        case 4 if chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13:
            chunks[0] = (b"IHDR", _lying_head(chunks[0][1], rng))
        case 5:
            idat = b"".join(body for name, body in chunks if name == b"IDAT")
            chunks = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
            chunks.insert(-1, (b"IDAT", _edited_pixels(idat, rng)))
        case _:
            chunks[where] = (name, damage(body, rng) if body else rng.randbytes(5))
    return _SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def _lying_head(head: bytes, rng: Random) -> bytes:
    """An image header with one other field."""
    fields = list(struct.unpack(">IIBBBBB", head))
    place = rng.randrange(7)
    if place < 2:
        fields[place] = rng.choice((*_SIDES, fields[place] ^ (1 << rng.randrange(32))))
    else:
        fields[place] = rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 255))
    return struct.pack(">IIBBBBB", *fields)


def _edited_pixels(idat: bytes, rng: Random) -> bytes:
    """Compressed pixel data with more, less or other data inside; the stream is whole."""
    try:
        raw = zlib.decompress(idat)
    except zlib.error:
        return idat
    return zlib.compress(rng.choice((raw[: rng.randrange(len(raw) + 1)], damage(raw, rng))))


def _edit_jpeg(content: bytes, rng: Random) -> bytes:
    """Change one segment before the scan: remove, repeat, lie about its length, damage it."""
    starts = [at for at in range(2, min(len(content), 2000) - 4) if content[at] == 0xFF]
    if not starts:
        return damage(content, rng)
    at = rng.choice(starts)
    length = struct.unpack_from(">H", content, at + 2)[0]
    segment = content[at : at + 2 + length]
    match rng.randrange(5):
        case 0:
            return content[:at] + content[at + len(segment) :]
        case 1:
            return content[:at] + segment + content[at:]
        case 2:
            return content[: at + 2] + rng.randbytes(2) + content[at + 4 :]
        case 3:
            body = rng.choice((b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"Adobe")) + rng.randbytes(60)
            marker = rng.choice((0xE1, 0xE2, 0xEE, 0xFE))
            return (
                content[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + content[2:]
            )
        case _:
            return content[:at] + damage(segment, rng) + content[at + len(segment) :]


def _edit_riff(content: bytes, rng: Random) -> bytes:
    """Change a WebP's sizes, or add a chunk."""
    match rng.randrange(3):
        case 0:
            size = rng.choice((0, len(content), 2**32 - 1, len(content) - 9))
            return content[:4] + struct.pack("<I", size) + content[8:]
        case 1:
            return content[:16] + struct.pack("<I", rng.choice((0, 7, 2**31))) + content[20:]
        case _:
            body = rng.choice((_exif(6), rng.randbytes(20)))
            chunk = rng.choice((b"EXIF", b"ICCP", b"ANIM", b"ALPH")) + struct.pack("<I", len(body))
            return content + chunk + body


def _edit_boxes(content: bytes, rng: Random) -> bytes:
    """Change a box of an AVIF or HEIC: its size or name, where it is, or what it says."""
    boxes: list[int] = []
    for name in _BOXES:
        if (at := content.find(name)) >= 4:
            boxes.append(at)
    at = rng.choice(boxes)
    size = struct.unpack_from(">I", content, at - 4)[0]
    body = content[at + 4 : at - 4 + size]
    match rng.randrange(4):
        case 0:
            lie = rng.choice((0, 1, 7, size + 1, size - 1, 2**31, 2**32 - 1))
            return content[: at - 4] + struct.pack(">I", lie % 2**32) + content[at:]
        case 1:
            return content[:at] + b"free" + content[at + 4 :]
        case 2:
            side = struct.pack(">I", rng.choice(_SIDES))
            where = at + 4 + rng.randrange(max(len(body) - 3, 1))
            return content[:where] + side + content[where + 4 :]
        case _:
            return content[: at + 4] + damage(body, rng) + content[at - 4 + size :]
