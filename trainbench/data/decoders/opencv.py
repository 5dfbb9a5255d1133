"""Images decoded by OpenCV."""

import functools
import importlib
from typing import Any

import numpy as np

from trainbench.data.decoders.encoded import Box, ChooseBox, check_end, reduction, unreadable


@functools.cache
def library() -> Any:
    """OpenCV, set up for this process.

    Raises:
      ImportError: it is not installed, or a system library that it needs is not.
    """
    cv2 = importlib.import_module("cv2")
    # Grain's threads and processes are as many as the cores: each of them decodes alone.
    cv2.setNumThreads(0)
    return cv2


def cut(data: bytes, choose: ChooseBox, size: tuple[int, int], mirrored: bool) -> np.ndarray:
    """A part of a stored image, resized; see `decoders.cut`."""
    cv2 = library()
    pixels, box = _decoded(data, choose, size)
    # Colours are put in order last, where the pixels are few.
    return cv2.cvtColor(_resized(pixels, box, size, mirrored), cv2.COLOR_BGR2RGB)


def cut_pixels(pixels: np.ndarray, choose: ChooseBox, size: tuple[int, int], mirrored: bool) -> np.ndarray:
    """A part of pixels uint8 [h, w, 3], resized; see `decoders.cut`."""
    return _resized(pixels, choose(*pixels.shape[:2]), size, mirrored)


def whole(data: bytes, channels: int) -> np.ndarray:
    """A stored image as it is, uint8 [h, w, channels]; see `decoders.whole`."""
    cv2 = library()
    check_end(data)
    if channels == 1:
        return _read(data, cv2.IMREAD_GRAYSCALE)[..., None]
    return cv2.cvtColor(_read(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _decoded(data: bytes, choose: ChooseBox, size: tuple[int, int]) -> tuple[np.ndarray, Box]:
    """The image in BGR, perhaps reduced, and the chosen part of it."""
    cv2 = library()
    stored_size = check_end(data)
    if stored_size is None:
        pixels = _read(data, cv2.IMREAD_COLOR)
        return pixels, choose(*pixels.shape[:2])
    box = choose(*stored_size)
    factor = reduction(box, size)
    if factor == 1:
        return _read(data, cv2.IMREAD_COLOR), box
    return _read(data, getattr(cv2, f"IMREAD_REDUCED_COLOR_{factor}")), box.reduced(factor)


def _read(data: bytes, flags: int) -> np.ndarray:
    cv2 = library()
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise unreadable(data)
    return pixels


def _resized(pixels: np.ndarray, box: Box, size: tuple[int, int], mirrored: bool) -> np.ndarray:
    cv2 = library()
    part = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    # Four neighbours stand for the whole while no more than every second pixel is skipped.
    method = cv2.INTER_AREA if reduction(box, size) > 1 else cv2.INTER_LINEAR
    result = cv2.resize(part, (size[1], size[0]), interpolation=method)
    return cv2.flip(result, 1) if mirrored else result
