"""Shapes in XLA's notation, and the memory that they take on a TPU.

`bf16[8,65,64]{2,1,0:T(8,128)(2,1)S(1)}` is an array of 8 x 65 x 64 elements, the last dimension minor, laid
out in tiles of 8 x 128 (so 65 and 64 are padded to 72 and 128), in memory space 1. A tuple is written in
parentheses. https://openxla.org/xla/shapes and https://openxla.org/xla/tiled_layout describe both.
"""

import functools
import math
import re
from dataclasses import dataclass

# Space 0, the default, is the chip's main memory (HBM); the others seen in programs for TPUs are on the chip:
# 1 vector memory, 2 semaphores, 3 the common memory of v4, 6 scalar memory.
MAIN_MEMORY = 0

_ARRAY = re.compile(r"(?P<dtype>[a-z]\w*)\[(?P<dims>[^\]]*)\](?:\{(?P<layout>[^}]*)\})?")
_TILES = re.compile(r"T((?:\([^)]*\))+)")
_SPACE = re.compile(r"S\((\d+)\)")
_ELEMENT_BITS = re.compile(r"E\((\d+)\)")
_BITS = re.compile(r"[a-z]+(\d+)")


@dataclass(frozen=True)
class Shape:
    """An array, or a tuple of shapes.

    Attributes:
      dims: sizes, the first is the outermost of the program's own order; empty for a scalar.
      minor_to_major: the dimensions' numbers, the one whose neighbours lie side by side first.
      tile: the first tile's sizes; empty where the layout has none.
      elements: the parts of a tuple, else empty; `is_tuple` tells an empty tuple from a scalar.
    """

    dtype: str = ""
    dims: tuple[int, ...] = ()
    minor_to_major: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    memory_space: int = MAIN_MEMORY
    element_bits: int = 0
    elements: tuple["Shape", ...] = ()
    is_tuple: bool = False

    @property
    def size(self) -> int:
        """Elements of an array, without padding."""
        return math.prod(self.dims)

    @functools.cached_property
    def bytes(self) -> int:
        """Memory of the array, padded to whole tiles; of a tuple, that of its parts.

        >>> parse("f32[65,64]{1,0:T(8,128)}").bytes == 72 * 128 * 4
        True
        """
        if self.is_tuple:
            return sum(part.bytes for part in self.elements)
        return math.prod(self._padded()) * self.element_bits // 8

    @property
    def data_bytes(self) -> int:
        """Memory of the elements alone, without padding; of a tuple, that of its parts.

        >>> parse("f32[65,64]{1,0:T(8,128)}").data_bytes == 65 * 64 * 4
        True
        """
        if self.is_tuple:
            return sum(part.data_bytes for part in self.elements)
        return self.size * self.element_bits // 8

    @functools.cached_property
    def main_memory_bytes(self) -> int:
        """The part of `bytes` that lies in main memory."""
        if self.is_tuple:
            return sum(part.main_memory_bytes for part in self.elements)
        return self.bytes if self.memory_space == MAIN_MEMORY else 0

    def _padded(self) -> tuple[int, ...]:
        """Sizes in the order of memory, the minor one last, each of a tile's rounded up to it."""
        order = self.minor_to_major or tuple(reversed(range(len(self.dims))))
        sizes = [self.dims[dim] for dim in reversed(order)]
        missing = len(self.tile) - len(sizes)
        sizes = [1] * missing + sizes
        for place, tile in enumerate(self.tile, start=len(sizes) - len(self.tile)):
            sizes[place] = -(-sizes[place] // tile) * tile
        return tuple(sizes)


@functools.lru_cache(maxsize=65536)
def parse(text: str) -> Shape:
    """The shape that `text` denotes.

    Raises:
      ValueError: it is none.
    """
    text = text.strip()
    if text.startswith("("):
        return Shape(elements=tuple(parse(part) for part in split_top_level(text[1:-1])), is_tuple=True)
    found = _ARRAY.fullmatch(text)
    if found is None:
        raise ValueError(f"not an XLA shape: {text[:200]!r}")
    # "<=" marks an upper bound of a dynamic dimension.
    dims = tuple(int(size.lstrip("<=")) for size in found["dims"].split(",") if size)
    order, _, tiling = (found["layout"] or "").partition(":")
    tiles, space, bits = _TILES.search(tiling), _SPACE.search(tiling), _ELEMENT_BITS.search(tiling)
    return Shape(
        dtype=found["dtype"],
        dims=dims,
        minor_to_major=tuple(int(dim) for dim in order.split(",") if dim),
        tile=_first_tile(tiles[1]) if tiles else (),
        memory_space=int(space[1]) if space else MAIN_MEMORY,
        element_bits=int(bits[1]) if bits else _bits(found["dtype"]),
    )


def split_top_level(text: str) -> list[str]:
    """The parts between those commas of `text` that no bracket and no quotation encloses."""
    parts, depth, start, quoted = [], 0, 0, False
    for mark in _MARKS.finditer(text):
        sign = mark[0]
        if sign == '"':
            quoted = not quoted
        elif quoted or len(sign) == 2:
            continue
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif depth == 0:
            parts.append(text[start : mark.start()].strip())
            start = mark.end()
    parts.append(text[start:].strip())
    return [part for part in parts if part]


_MARKS = re.compile(r'\\.|["()\[\]{},]')


def _first_tile(tiles: str) -> tuple[int, ...]:
    # A star joins a dimension with the next larger one: it pads nothing.
    first = tiles[1 : tiles.index(")")]
    return tuple(int(size) if size.isdigit() else 1 for size in first.split(","))


def _bits(dtype: str) -> int:
    """Bits of one element; 0 for tokens and what is opaque.

    >>> [_bits(dtype) for dtype in ("bf16", "f8e4m3fn", "pred", "s4", "token")]
    [16, 8, 8, 4, 0]
    """
    if dtype == "pred":
        return 8
    found = _BITS.match(dtype)
    return int(found[1]) if found else 0
