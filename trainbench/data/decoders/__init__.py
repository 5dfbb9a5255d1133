"""Stored JPEG and PNG images as pixels, by OpenCV where it is installed and by Pillow otherwise.

Both decoders give the same RGB pixels, within 1 of 255: of grey, palette, 16-bit and CMYK images too (CMYK as
Adobe writes it, inverted; an alpha channel is dropped). As `tf.image` does, both ignore the EXIF orientation
and colour profiles. They differ in resizing: OpenCV interpolates between the four nearest pixels, as
`tf.image` does; Pillow averages over all that fall on a new one.
"""

from typing import Any

import numpy as np

from trainbench import extras
from trainbench.data.decoders import opencv, pillow
from trainbench.data.decoders.encoded import Box, ChooseBox, Stored, grey_pixels, rgb_pixels
from trainbench.errors import UserError

__all__ = ["Box", "Stored", "choose_decoder", "cut", "whole"]

_DECODERS: dict[str, Any] = {"opencv": opencv, "pillow": pillow}


def choose_decoder(asked: str | None) -> tuple[str, str]:
    """(name, reason); `asked` None takes the faster one.

    Raises:
      UserError: OpenCV is asked for and cannot be imported.
    """
    if asked == "pillow":
        return asked, "as asked"
    try:
        opencv.library()
    except ImportError as error:
        if asked is None:
            return "pillow", f"OpenCV, which is faster, is not installed: {extras.install('image')}"
        raise UserError(
            f"data.decoder=opencv: OpenCV cannot be imported ({error})",
            allowed="data.decoder=pillow, which is always there",
            fix=extras.install("image"),
        ) from error
    return "opencv", "as asked" if asked else "installed, and faster than Pillow"


def cut(
    stored: Stored, choose: ChooseBox, size: tuple[int, int], *, mirrored: bool, decoder: str
) -> np.ndarray:
    """A part of the image, resized: RGB, uint8 [height, width, 3] for `size` (height, width).

    Where the part has at least 2, 4 or 8 times the height and width asked for, a JPEG is decoded at 1/2, 1/4
    or 1/8 of its size. That is quicker, averages over the pixels left out instead of skipping them, and moves
    the part by less than one pixel of the result.

    Args:
      stored: the bytes of a file, or pixels uint8 [h, w], or [h, w, 1, 3 or 4].
      choose: the part, given the height and width of the whole.
      mirrored: left and right change places.

    Raises:
      BadRecord: the image is damaged, or none.
    """
    if isinstance(stored, np.ndarray):
        return _DECODERS[decoder].cut_pixels(rgb_pixels(stored), choose, size, mirrored)
    return _DECODERS[decoder].cut(stored, choose, size, mirrored)


def whole(stored: Stored, channels: int, *, decoder: str) -> np.ndarray:
    """The image as it is, uint8 [h, w, channels]; 1 channel is grey, 3 are RGB.

    Raises:
      BadRecord: the image is damaged, or none; or pixels in colour, and grey ones are wanted.
    """
    if isinstance(stored, np.ndarray):
        return grey_pixels(stored) if channels == 1 else rgb_pixels(stored)
    return _DECODERS[decoder].whole(stored, channels)
