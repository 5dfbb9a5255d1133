"""Images decoded by Pillow."""

import io

import numpy as np
from PIL import Image

from trainbench.data.decoders.encoded import Box, ChooseBox, check_end, reduction, unreadable


def cut(data: bytes, choose: ChooseBox, size: tuple[int, int], mirrored: bool) -> np.ndarray:
    """A part of a stored image, resized; see `decoders.cut`."""
    with _opened(data) as image:
        box = choose(image.height, image.width)
        factor, stored_size = reduction(box, size), image.size
        if factor > 1:
            image.draft(None, (image.width // factor, image.height // factor))
        if image.size != stored_size:
            box = box.reduced(factor)
        return _resized(_read(image, "RGB", data), box, size, mirrored)


def cut_pixels(pixels: np.ndarray, choose: ChooseBox, size: tuple[int, int], mirrored: bool) -> np.ndarray:
    """A part of pixels uint8 [h, w, 3], resized; see `decoders.cut`."""
    return _resized(Image.fromarray(pixels), choose(*pixels.shape[:2]), size, mirrored)


def whole(data: bytes, channels: int) -> np.ndarray:
    """A stored image as it is, uint8 [h, w, channels]; see `decoders.whole`."""
    with _opened(data) as image:
        pixels = np.asarray(_read(image, "L" if channels == 1 else "RGB", data))
    return pixels[..., None] if channels == 1 else pixels


def _opened(data: bytes) -> Image.Image:
    check_end(data)
    try:
        return Image.open(io.BytesIO(data))
    except Exception as error:  # every format has its own kinds
        raise unreadable(data) from error


def _read(image: Image.Image, mode: str, data: bytes) -> Image.Image:
    try:
        if image.mode.startswith("I;16"):
            # Pillow would clip at 255.
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        # Which colour of the palette is transparent: Pillow would warn that this is lost.
        image.info.pop("transparency", None)
        return image.convert(mode)
    except Exception as error:  # every format has its own kinds
        raise unreadable(data) from error


def _resized(image: Image.Image, box: Box, size: tuple[int, int], mirrored: bool) -> np.ndarray:
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    result = image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=corners)
    return np.asarray(result.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else result)
