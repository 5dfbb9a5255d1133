"""What can be told of a stored image before it is decoded: its size, and whether its end is missing.

An image cut off in the middle is damaged, though some decoders would fill in the rest without a word: a JPEG
must have its end marker behind the pixels, and a PNG its last chunk. Bytes after them do no harm.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainbench.data.bad_records import BadRecord

# The marker codes of JPEG: ITU-T T.81, table B.1; the chunks of PNG: www.w3.org/TR/png-3, section 11.2.
JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xae\x42\x60\x82"

# How much smaller libjpeg can decode an image, computing fewer pixels from each 8 x 8 block.
REDUCTIONS = (8, 4, 2)

Stored = bytes | np.ndarray


@dataclass(frozen=True)
class Box:
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def reduced(self, factor: int) -> "Box":
        """The same part of the image at 1/factor of its size."""
        height, width = max(1, self.height // factor), max(1, self.width // factor)
        return Box(self.top // factor, self.left // factor, height, width)


ChooseBox = Callable[[int, int], Box]


def reduction(box: Box, size: tuple[int, int]) -> int:
    """The largest factor by which `box` can shrink and still have the pixels of `size` (height, width)."""
    for factor in REDUCTIONS:
        if box.height >= factor * size[0] and box.width >= factor * size[1]:
            return factor
    return 1


def check_end(data: bytes) -> tuple[int, int] | None:
    """(height, width) that the header of a JPEG tells; None for other formats, and where it tells none.

    Raises:
      BadRecord: a JPEG or a PNG whose end is missing.
    """
    if data.startswith(PNG_START) and data.rfind(PNG_END) < 0:
        raise BadRecord("the PNG is cut off")
    if not data.startswith(JPEG_START):
        return None
    size, scan = _jpeg_header(data)
    # Searched for behind the header only: a small preview in the header has an end of its own.
    if data.rfind(JPEG_END, scan) < 0:
        raise BadRecord("the JPEG is cut off")
    return size


def _jpeg_header(data: bytes) -> tuple[tuple[int, int] | None, int]:
    """((height, width) if told, where the header ends)."""
    size, position = None, 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xFF:
            # Any marker may have fill bytes before it (T.81, section B.1.1.2).
            position += 1
            continue
        marker, length = struct.unpack_from(">BH", data, position + 1)
        if marker == JPEG_SCAN:
            break
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            size = (height, width) if height and width else None
        position += 2 + length
    return size, position


def rgb_pixels(pixels: np.ndarray) -> np.ndarray:
    """Pixels that are stored as such, as uint8 [h, w, 3].

    Raises:
      BadRecord: they are no 8-bit image.
    """
    checked = _checked(pixels)
    return np.repeat(checked, 3, axis=2) if checked.shape[2] == 1 else checked[..., :3]


def grey_pixels(pixels: np.ndarray) -> np.ndarray:
    """Pixels that are stored as such, as uint8 [h, w, 1].

    Raises:
      BadRecord: they are no 8-bit image, or one in colour.
    """
    checked = _checked(pixels)
    if checked.shape[2] != 1:
        raise BadRecord(f"pixels of {checked.shape[2]} channels where grey ones are expected")
    return checked


def _checked(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8:
        raise BadRecord(f"pixels of type {pixels.dtype}, not uint8")
    shaped = pixels[..., None] if pixels.ndim == 2 else pixels
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3, 4) or not shaped.size:
        raise BadRecord(f"pixels of shape {pixels.shape} are no image")
    return shaped


def unreadable(data: bytes) -> BadRecord:
    """What to raise when a decoder gives up on `data`."""
    if not data:
        return BadRecord("the image has no bytes")
    kind = "JPEG" if data.startswith(JPEG_START) else "PNG" if data.startswith(PNG_START) else "image"
    return BadRecord(f"{len(data)} bytes that cannot be decoded as {kind}")
