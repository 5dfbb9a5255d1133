"""Goals for a GPU: what JAX here is to reach, measured with the most valuable first and within a time.

`scripts/gpu_goals.py` carries them out; here is what they are, and how a measurement answers one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trainbench.results.race import Standing

Answer = Literal["reached", "missed", "unclear", "not measured"]


@dataclass(frozen=True)
class Goal:
    """One goal; those of `ratio` are races, those of `mfu` and `rate` look at JAX's side alone.

    Attributes:
      name: what it is called in the table.
      model: as `model=` takes it.
      overrides: the rest of the workload, for both sides.
      ratio: JAX's samples/s over PyTorch's.
      mfu: share of the chip's published dense peak.
      rate: samples/s of one chip.
      batch_size: of both sides where their own best is not searched for.
      seconds: planned for it; a goal that is planned to take longer than what is left is not begun.
    """

    name: str
    model: str
    overrides: tuple[str, ...] = ()
    ratio: float | None = None
    mfu: float | None = None
    rate: float | None = None
    batch_size: int = 32
    seconds: float = 210.0

    @property
    def races(self) -> bool:
        """Whether PyTorch runs as well."""
        return self.ratio is not None

    @property
    def wanted(self) -> str:
        """The goal in words."""
        known = [
            (self.ratio, "{:.2f} x PyTorch"),
            (self.mfu, "MFU {:.0%}"),
            (self.rate, "{:,.0f} samples/s"),
        ]
        return " and ".join(text.format(value) for value, text in known if value is not None)


_BF16 = "precision=bf16"
_1024 = "sequence_length=1024"
# PyTorch has a fused kernel of AdamW and none of LAMB: the race is against the best that it has.
_ADAMW = "optimizer=adamw"

# A run that needs no race, in its own process.
_ALONE_S = 75.0

# The most valuable first: what comes last is what a short loan leaves out. The batches are large enough to
# fill a GPU of 80 GB and leave room for attention without a fused kernel.
GOALS = (
    Goal("ResNet-50", "resnet50", (_BF16,), ratio=1.10, rate=3000, batch_size=512),
    Goal("BERT-Large 512", "bert_large", (_BF16, "sequence_length=512", _ADAMW), 1.10, 0.55, batch_size=32),
    Goal("GPT-2 124M", "gpt2_124m", (_BF16,), ratio=1.10, batch_size=16),
    Goal("ViT-B/16", "vit_b16", (_BF16,), ratio=1.10, batch_size=256),
    Goal("ViT-L/16", "vit_l16", (_BF16,), mfu=0.55, batch_size=128, seconds=_ALONE_S),
    Goal("GPT-2 345M", "gpt2_345m", (_BF16, _1024), mfu=0.50, batch_size=8, seconds=_ALONE_S),
    Goal("ViT-S/16", "vit_s16", (_BF16,), ratio=1.10, batch_size=512),
    Goal("BERT-Base 128", "bert_base", (_BF16, "sequence_length=128", _ADAMW), ratio=1.10, batch_size=256),
)


def affordable(goals: Sequence[Goal], left_s: float) -> tuple[list[Goal], list[Goal]]:
    """(those that fit into the time when begun in this order, the rest)."""
    taken: list[Goal] = []
    spent = 0.0
    for goal in goals:
        if spent + goal.seconds <= left_s:
            taken.append(goal)
            spent += goal.seconds
    return taken, [goal for goal in goals if goal not in taken]


def answer(goal: Goal, found: Standing | None) -> Answer:
    """Whether the measurement reaches all of a goal.

    A race reaches its ratio where the middle does; where the interval has the goal inside, that is unclear
    unless the middle is on the right side.
    """
    if found is None:
        return "not measured"
    parts = [
        _ratio_reached(goal.ratio, found),
        _reached(goal.mfu, found.jax.mfu),
        _reached(goal.rate, found.jax.rate),
    ]
    if "missed" in parts:
        return "missed"
    return "unclear" if "unclear" in parts else "reached"


def _ratio_reached(wanted: float | None, found: Standing) -> Answer:
    if wanted is None:
        return "reached"
    if found.ratio is None:
        return "unclear"
    if found.ratio >= wanted:
        return "reached"
    inside = found.interval is not None and found.interval[1] >= wanted
    return "unclear" if inside else "missed"


def _reached(wanted: float | None, measured: float | None) -> Answer:
    if wanted is None:
        return "reached"
    if measured is None:
        return "unclear"
    return "reached" if measured >= wanted else "missed"
