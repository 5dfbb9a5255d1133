"""What every lever is set to in one run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Levers:
    """The levers' values, by configuration key; left alone, each is at its plain value.

    Attributes:
      compiler_flags: name of the preset of flags for the compiler.
      first_moment: dtype in which the optimizer keeps its running mean of gradients.
      convolution: how 1x1 convolutions are computed.
      stem: how the 7x7 convolution of stride 2 is.
      batch_statistics: how batch normalisation takes the variance.
      max_pool: how the maximum over windows is taken.
      attention: what computes attention in training, as `models.attention.attend` has it.
      layers: whether like blocks are written out, or are one in a loop.
      vocabulary_multiple: what the rows of token tables are rounded up to.
    """

    attention: str = "xla"
    compiler_flags: str = "none"
    first_moment: str = "fp32"
    convolution: str = "convolution"
    stem: str = "convolution"
    batch_statistics: str = "one_pass"
    max_pool: str = "windows"
    layers: str = "unrolled"
    vocabulary_multiple: int = 1


PLAIN = Levers()
