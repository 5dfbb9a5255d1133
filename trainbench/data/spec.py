"""What a batch is made of, and how images travel to the device."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# The arrays of one batch in host memory, by name.
HostBatch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ArraySpec:
    """One array of a batch: shape, dtype, and the closed range of its (synthetic) values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    low: int
    high: int

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Share:
    """What one process reads of every global batch, which is cut into equal parts, one for each replica.

    Attributes:
      replicas: the parts that devices of this process hold, ascending.
      replica_count: all parts.
      index, count: processes that hold the same parts read the same; which of `count` readers this is.
    """

    replicas: tuple[int, ...] = (0,)
    replica_count: int = 1
    index: int = 0
    count: int = 1

    def rows(self, global_batch_size: int) -> tuple[range, ...]:
        """The samples of the global batch, a range for each of `replicas`."""
        size = global_batch_size // self.replica_count
        return tuple(range(replica * size, (replica + 1) * size) for replica in self.replicas)

    def batch_size(self, global_batch_size: int) -> int:
        """Samples of this process in a global batch."""
        return global_batch_size // self.replica_count * len(self.replicas)


@dataclass(frozen=True)
class ImageWire:
    """How images travel to the device: uint8 pixels, normalised there.

    `mean` and `std` are per channel, of pixels scaled to [0, 1].
    """

    height: int
    width: int
    channels: int
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


# Channel statistics of the ImageNet training set, as torchvision's and timm's recipes use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def synthetic_wire(image_size: int, classes: int) -> ImageWire:
    """Images of the model's own size and classes, in colour."""
    return ImageWire(image_size, image_size, 3, classes, IMAGENET_MEAN, IMAGENET_STD)
