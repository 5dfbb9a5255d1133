"""Archives like those of ILSVRC 2012, with a few small images: what TFDS makes `imagenet2012` of."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests.data import small_sets

# TFDS's classes 0, 1 and 2.
SYNSETS = ("n01440764", "n01443537", "n01484850")
IMAGES_EACH = 4
VALIDATION_IMAGES = 5


def write_archives(directory: Path) -> None:
    """The archives of training and validation, as image-net.org names them, in a new directory."""
    directory.mkdir()
    synsets = [(f"{synset}.tar", _archive(_photos_of(place))) for place, synset in enumerate(SYNSETS)]
    (directory / "ILSVRC2012_img_train.tar").write_bytes(_archive(synsets))
    photos = [
        (f"ILSVRC2012_val_{n:08d}.JPEG", small_sets.encoded(n).read())
        for n in range(1, VALIDATION_IMAGES + 1)
    ]
    (directory / "ILSVRC2012_img_val.tar").write_bytes(_archive(photos))


def training_facts() -> list[tuple[str, int, int]]:
    """(file name, label, bytes of the JPEG) of each training image."""
    return [
        (name, place, len(content)) for place in range(len(SYNSETS)) for name, content in _photos_of(place)
    ]


def _photos_of(place: int) -> list[tuple[str, bytes]]:
    return [
        (f"{SYNSETS[place]}_{number}.JPEG", small_sets.encoded(10 * place + number).read())
        for number in range(IMAGES_EACH)
    ]


def _archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()
