"""What the process that compiles is asked, and what it replies: JSON in one line each."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from trainbench.forecast.bounds.bound import Bound
from trainbench.results import record

# Names the file that keeps what native code writes on standard error.
LOG = "TRAINBENCH_COMPILER_LOG"


class Section(BaseModel):
    """Frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Section):
    """What is asked of this process.

    Attributes:
      tree: the composed configuration.
      target: its name.
    """

    tree: dict[str, Any]
    target: str


class Facts(Section):
    """What is known of a step besides what the compiler says.

    Attributes:
      state_bytes: parameters, statistics and optimizer state, however they are split.
      program_flops: of one optimizer step over all devices, by the walk over the traced program.
      entry: the cache's file with what the compiler says; empty where nothing was compiled.
      cached: whether it was there already.
    """

    workload: record.Workload
    hardware: record.Hardware
    autos: dict[str, record.Auto]
    tokens_per_sample: int | None
    state_bytes: int
    parallel: record.Parallel | None = None
    levers: dict[str, record.Lever] = Field(default_factory=dict)
    program_flops: float
    steps_per_call: int
    trace_s: float
    lower_s: float = 0.0
    entry: str = ""
    cached: bool = False


class Mistake(Section):
    """A UserError on its way to the parent process."""

    problem: str
    allowed: str
    fix: str


class Reply(Section):
    """One of: facts, with an outcome in the cache or a bound; a mistake; the compiler's failure in a line."""

    facts: Facts | None = None
    bound: Bound | None = None
    mistake: Mistake | None = None
    failure: str | None = None
