"""How much is measured: calls, blocks, warm-up."""

from dataclasses import dataclass

from trainbench.errors import UserError

# Fewer than three points show neither a trend nor an odd one out.
MIN_WINDOW_BLOCKS = 3


@dataclass(frozen=True)
class Plan:
    """What `measure` does, in device calls; one call makes `steps_per_call` optimizer steps.

    Warm-up and timed blocks have the same length, so that a block of one can be compared with a block of the
    other (both contain one fence).

    Raises:
      UserError: when a number is out of range, when the blocks do not divide the calls, or when the warm-up
        is too short for its criterion ever to be met.
    """

    calls: int  # timed calls in all
    calls_per_block: int  # timed calls between two fences
    warmup_min_calls: int  # no decision before this many
    warmup_max_calls: int  # warm-up gives up here, and the result is marked as not steady
    window: int  # warm-up blocks that the steady-state criterion looks at
    steps_per_call: int = 1  # optimizer steps in one device call
    # Warm-up gives up after this time, but never before `warmup_min_blocks`: with fewer nothing can be called
    # steady, and the time spent would be lost. None is no limit.
    warmup_limit_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "calls_per_block", "steps_per_call"):
            _at_least(name, getattr(self, name), 1)
        _at_least("window", self.window, MIN_WINDOW_BLOCKS)
        _at_least("warmup_min_calls", self.warmup_min_calls, 0)
        _check_blocks(self)
        _check_warmup(self)

    @property
    def blocks(self) -> int:
        """Timed blocks."""
        return self.calls // self.calls_per_block

    @property
    def steps_per_block(self) -> int:
        """Optimizer steps between two fences."""
        return self.calls_per_block * self.steps_per_call

    @property
    def warmup_max_blocks(self) -> int:
        """Warm-up blocks at most."""
        return self.warmup_max_calls // self.calls_per_block

    @property
    def warmup_min_blocks(self) -> int:
        """Warm-up blocks at least: enough for the criterion's window and for `warmup_min_calls`."""
        return max(self.window, -(-self.warmup_min_calls // self.calls_per_block))


def _at_least(name: str, value: int, lowest: int) -> None:
    if value < lowest:
        raise UserError(
            f"{name}={value} is too small",
            allowed=f"whole numbers from {lowest}",
            fix=f"{name}={lowest}",
        )


def _check_blocks(plan: Plan) -> None:
    if plan.calls % plan.calls_per_block:
        # The nearest multiple above: rounding down could give zero calls.
        fitting = -(-plan.calls // plan.calls_per_block) * plan.calls_per_block
        raise UserError(
            f"{plan.calls} timed calls cannot be cut into blocks of {plan.calls_per_block}",
            allowed=f"a multiple of {plan.calls_per_block}",
            fix=f"{fitting * plan.steps_per_call} steps, or a block length that divides {plan.calls}",
        )


def _check_warmup(plan: Plan) -> None:
    if plan.warmup_limit_s is not None and plan.warmup_limit_s <= 0:
        raise UserError(
            f"a warm-up limit of {plan.warmup_limit_s} s leaves no time to warm up",
            allowed="a positive number of seconds, or none",
        )
    needed = plan.warmup_min_blocks * plan.calls_per_block
    if plan.warmup_max_calls < needed:
        raise UserError(
            f"at most {plan.warmup_max_calls} warm-up calls, but steady state is judged over {plan.window} "
            f"blocks of {plan.calls_per_block} after at least {plan.warmup_min_calls} calls",
            allowed=f"{needed} warm-up calls or more",
            fix=f"{needed * plan.steps_per_call} or more warm-up steps, or shorter blocks",
        )
