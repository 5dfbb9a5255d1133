"""Stand-ins for the processes of sweeps and searches."""

from datetime import UTC, datetime, timedelta

from tests.results import examples
from trainbench.errors import ExitCode
from trainbench.processes.child import Outcome
from trainbench.results import store

CODES = {
    "ok": ExitCode.OK,
    "oom": ExitCode.OUT_OF_MEMORY,
    "invalid": ExitCode.FAILED_CHECK,
    "failed": ExitCode.FAILED_CHECK,
    "interrupted": ExitCode.INTERRUPTED,
}


def value(arguments, key, default=None):
    """The value of the override with this key."""
    found = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{key}=")]
    return found[-1] if found else default


class Processes:
    """Stands for `child.run`: notes what it is asked for, and leaves the result that it was told to.

    Args:
      statuses: for each batch size or seed, as text, the status to end with; "ok" where it has none. "dies"
        leaves no result, "refused" is a user's mistake, an exception is raised.
      rate: samples per second for a batch size.
    """

    def __init__(self, statuses=None, rate=lambda batch: 100.0 * batch):
        self.statuses = dict(statuses or {})
        self.rate = rate
        self.asked = []
        self.directories = []
        self.locks = []

    def __call__(self, arguments, directory, lock=None):
        arguments = list(arguments)
        self.asked.append(arguments)
        self.directories.append(directory)
        self.locks.append(lock)
        batch = value(arguments, "batch_size", "8")
        ending = self.statuses.get(batch, self.statuses.get(value(arguments, "seed"), "ok"))
        if isinstance(ending, BaseException):
            raise ending
        if ending == "dies":
            return Outcome(-9, None, "the process ended with code -9 and left no result")
        if ending == "refused":
            return Outcome(ExitCode.USER_ERROR, None, "not run: see the message above")
        result = self.result(int(batch), ending, arguments)
        store.write(result, directory)
        return Outcome(CODES[ending], result)

    def result(self, batch, status, arguments):
        base = {"oom": examples.oom, "interrupted": examples.interrupted}.get(status, examples.ok_gpu)()
        work = base.workload.model_copy(
            update={
                "batch_size": batch,
                "global_batch_size": batch,
                "gradient_accumulation": int(value(arguments, "gradient_accumulation", "1")),
            }
        )
        changes = {
            "workload": work,
            "status": status,
            "status_reason": None if status == "ok" else "as it was told to",
            "id": f"run-{len(self.asked)}",
            "created_utc": datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=len(self.asked)),
            "config": {"batch_size": batch, "seed": int(value(arguments, "seed", "0"))},
        }
        if status == "ok":
            rate = self.rate(batch)
            changes["throughput"] = base.throughput.model_copy(
                update={"samples_per_s": rate, "samples_per_s_ci95": (0.99 * rate, 1.01 * rate)}
            )
        return base.model_copy(update=changes)

    def values(self, key):
        """What it was asked for, in order, by the value of one override."""
        return [value(arguments, key) for arguments in self.asked]
