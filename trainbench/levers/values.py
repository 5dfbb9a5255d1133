"""What every lever is set to in one run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Levers:
    """The levers' values, by configuration key; left alone, each is at its plain value.

    Attributes:
      compiler_flags: name of the preset of flags for the compiler.
      first_moment: dtype in which the optimizer keeps its running mean of gradients.
      attention: what computes attention in training, as `models.attention.attend` has it.
      layers: whether like blocks are written out, or are one in a loop.
      vocabulary_multiple: what the rows of token tables are rounded up to.
    """

    attention: str = "xla"
    compiler_flags: str = "none"
    first_moment: str = "fp32"
    layers: str = "unrolled"
    vocabulary_multiple: int = 1


PLAIN = Levers()
