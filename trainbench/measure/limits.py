"""Figures that physics forbids."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A measured figure above its limit, which makes the measurement void."""

    figure: str  # what was measured, with unit
    limit: str
    cause: str

    def __str__(self) -> str:
        return f"{self.figure} is above {self.limit}; likely cause: {self.cause}"


def check_physical(
    *,
    step_time_s: float,
    model_flops_per_step: float | None = None,
    peak_flops_per_s: float | None = None,
    min_bytes_per_step: float | None = None,
    peak_bytes_per_s: float | None = None,
) -> tuple[Violation, ...]:
    """What is impossible about a step, all figures per device; empty when nothing is, or nothing is known.

    Args:
      step_time_s: seconds per optimizer step.
      model_flops_per_step: FLOPs that one device must execute in a step (2 per multiply-add).
      peak_flops_per_s: dense peak of the device in the dtype that ran.
      min_bytes_per_step: bytes that a step cannot avoid moving through the device's main memory, such as
        reading and writing parameters and optimizer state once.
      peak_bytes_per_s: bandwidth of that memory.

    Either limit is skipped when one of its two numbers is None (unknown chip).

    >>> check_physical(step_time_s=1.0, model_flops_per_step=1e12, peak_flops_per_s=2e12)
    ()
    """
    if step_time_s <= 0:
        raise ValueError(f"step time must be positive, got {step_time_s} s")
    found = (
        _compute(step_time_s, model_flops_per_step, peak_flops_per_s),
        _bandwidth(step_time_s, min_bytes_per_step, peak_bytes_per_s),
    )
    return tuple(one for one in found if one is not None)


def _compute(step_time_s: float, flops: float | None, peak: float | None) -> Violation | None:
    if flops is None or peak is None or flops / step_time_s <= peak:
        return None
    ratio = flops / step_time_s / peak
    return Violation(
        figure=f"{flops / step_time_s / 1e12:.4g} TFLOP/s per device",
        limit=f"the device's peak of {peak / 1e12:.4g} TFLOP/s ({ratio:.2f} times)",
        cause=_compute_cause(ratio),
    )


def _compute_cause(ratio: float) -> str:
    # No wrong peak or device count of one host (1 to 8) explains a larger factor.
    if ratio > 10:
        return "no fence, so that dispatch was timed and not execution"
    return (
        "no fence at the block's end, the peak of another dtype or another chip, or a wrong device count "
        "(work of the whole machine divided by too few devices)"
    )


def _bandwidth(step_time_s: float, moved: float | None, peak: float | None) -> Violation | None:
    if moved is None or peak is None or moved / step_time_s <= peak:
        return None
    return Violation(
        figure=f"{moved / step_time_s / 1e9:.4g} GB/s of unavoidable memory traffic per device",
        limit=f"the device's bandwidth of {peak / 1e9:.4g} GB/s ({moved / step_time_s / peak:.2f} times)",
        cause="no fence at the block's end, the bandwidth of another chip, a wrong device count, or a state "
        "small enough to stay in cache",
    )
