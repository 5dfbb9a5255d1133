"""A machine whose runs take no time, and levers of known effect."""

import types

from tests.results import examples
from tests.results.comparing import changed, timed
from tests.sweeping import CODES, value
from trainbench.errors import ExitCode
from trainbench.processes.child import Outcome
from trainbench.results import store
from trainbench.tuning.possible import Choice, Possible
from trainbench.tuning.space import Axis, Space

POSSIBLE = Possible(
    "cpu",
    8,
    {
        "remat": Choice("none", ("none", "dots", "full"), {}),
        "first_moment": Choice("fp32", ("fp32", "bf16"), {}),
        "compiler_flags": Choice("none", ("none", "onednn"), {"vmem": "not for this platform"}),
    },
)
SPACE = Space(
    (
        Axis("batch_size", (8, 4, 16), {}),
        Axis("remat", ("none", "dots", "full"), {}),
        Axis("steps_per_call", (1, 4, 10), {}),
        Axis("first_moment", ("fp32", "bf16"), {}),
    )
)


class Machine:
    """Stands for `child.run`: each override given here multiplies the speed; every run takes `cost_s`.

    Args:
      speeds: by override.
      statuses: how a run with an override ends, if not well; an exception is raised. A number as its key
        counts the runs, from 1.
      drift: share by which each run is slower than the one before.
      restless: the runs, from 1, whose step time never became steady.
    """

    def __init__(self, speeds=(), statuses=(), cost_s=10.0, noise=0.002, drift=0.0, restless=()):
        self.speeds = dict(speeds)
        self.statuses = dict(statuses)
        self.cost_s = cost_s
        self.noise = noise
        self.drift = drift
        self.restless = restless
        self.asked = []
        self.now_s = 0.0

    @property
    def time(self):
        """Stands for the module `time` of the processes' parent."""
        return types.SimpleNamespace(monotonic=lambda: self.now_s)

    def __call__(self, arguments, directory, lock=None):
        arguments = list(arguments)
        self.asked.append(arguments)
        self.now_s += self.cost_s
        told = [status for override, status in self.statuses.items() if override in arguments]
        status = next(iter(told), self.statuses.get(len(self.asked), "ok"))
        if isinstance(status, BaseException):
            raise status
        if status == "dies":
            return Outcome(-9, None, "the process ended with code -9 and left no result")
        if status == "interrupted":
            return Outcome(ExitCode.INTERRUPTED, None, "stopped by the user")
        result = self._ok(arguments) if status == "ok" else examples.oom()
        store.write(result, directory)
        return Outcome(CODES[status], result)

    def _ok(self, arguments):
        batch, count = int(value(arguments, "batch_size", "8")), len(self.asked)
        speed = 1.0
        for override in arguments:
            speed *= self.speeds.get(override, 1.0)
        step_s = 0.01 * batch / speed * (1 + self.drift) ** count
        levers = {
            key: {"value": value(arguments, key), "reason": None, "proof": f"{key} is seen"}
            for key in POSSIBLE.choices
            if value(arguments, key)
        }
        steady = count not in self.restless
        result = timed(
            step_s,
            seed=count,
            name=f"run-{count}",
            noise=self.noise,
            workload={"batch_size": batch, "global_batch_size": batch},
            levers=levers,
            compile={"cache": "hit"},
        )
        return changed(result, timing={"steady": steady, "steady_reason": "as it was told to"})

    def labels(self, keys=("batch_size", *POSSIBLE.choices)):
        """What varied in each run, in order."""
        return [
            " ".join(one for one in arguments if one.partition("=")[0] in keys) for arguments in self.asked
        ]
