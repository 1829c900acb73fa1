"""Images and files of images, as the tests of reading and writing need them."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

HEIGHT, WIDTH = 20, 30
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def smooth_pixels(channels: int, dtype: type = np.uint8) -> NDArray[np.uint8 | np.uint16]:
    """Smooth, so that JPEG and WebP keep it; not symmetric in any direction."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [(y * (c + 2) + x * (5 - c) + 20 * c) / 300 for c in range(channels)]
    peak = np.iinfo(dtype).max
    return np.rint(np.stack(planes, axis=2).clip(0, 1) * peak).astype(dtype)


def save_image(path: Path, image: Image.Image, **options: object) -> Path:
    """Let Pillow write an image."""
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def png_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, its checksum right."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def write_file(path: Path, content: bytes) -> Path:
    """Write a file, give its path."""
    path.write_bytes(content)
    return path
