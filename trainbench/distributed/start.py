"""How this process joins the others of its run, before anything else is done."""

import math
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainbench.distributed import native, settings, surroundings
from trainbench.distributed.members import Members
from trainbench.distributed.native import Native
from trainbench.distributed.settings import DistributedConfig
from trainbench.distributed.surroundings import BY_HAND, Meeting
from trainbench.distributed.team import ProcessLost
from trainbench.errors import UserError

# Until all have come: schedulers start processes minutes apart.
LIMIT_S = 300
# JAX's own limits for a process that is gone; the watchdog is earlier, where timeout_s does not forbid it.
HEARTBEAT_S = 100
SHUTDOWN_S = 5
POLL_S = 0.1
CONNECT_S = 2.0


@dataclass(frozen=True)
class Joined:
    """A run of several processes that this one belongs to."""

    members: Members
    native: Native


def check_alone(what: str, overrides: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Nothing if these overrides, in this environment, start a single process.

    Raises:
      UserError: they start one of several, which cannot do `what`.
    """
    if _meeting(overrides, environment) is not None:
        raise UserError(
            f"{what} starts a process for each of its points, and this is one of several processes already",
            allowed="one benchmark in several processes; or a single process with all devices of one host",
            fix="start the points one after the other; or distributed.cluster=none in a single process",
        )


def check_typed(tree: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Nothing if what a composed configuration says of the processes was typed as overrides.

    Raises:
      UserError: some of it stands in a file, which is read when the processes have met, or have not.
    """
    composed, typed = settings.parse(tree), _asked(overrides)
    missed = [
        f"distributed.{key}={value}"
        for key, value in composed.__dict__.items()
        if value != getattr(typed, key)
    ]
    if missed:
        raise UserError(
            f"{', '.join(missed)} stands in a file, where it is read too late",
            allowed="the keys of distributed on the command line: the processes meet before any file is read",
            fix=" ".join(missed),
        )


def joined(overrides: Sequence[str], environment: Mapping[str, str] = os.environ) -> Joined | None:
    """The run of several processes that these overrides start; None: this process is alone.

    Raises:
      UserError: what is said of the processes is wrong, or they have not come together in time.
    """
    meeting = _meeting(overrides, environment)
    if meeting is None:
        return None
    limit_s = _limit_s(overrides)
    # Imported late: it takes a second, and a mistake in the overrides needs no JAX.
    import jax

    # It would take SIGTERM away from this program.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    deadline = time.monotonic() + limit_s
    if meeting.coordinator is not None:
        if meeting.process_id == 0:
            _check_free(meeting.coordinator)
        else:
            _wait_for(meeting.coordinator, limit_s)
    own = native.taken_over()
    _initialise(meeting, own, max(1, round(deadline - time.monotonic())))
    return Joined(_introduced(), own)


def _meeting(overrides: Sequence[str], environment: Mapping[str, str]) -> Meeting | None:
    return surroundings.meeting(_asked(overrides), environment)


def _asked(overrides: Sequence[str]) -> DistributedConfig:
    given = {
        key.removeprefix("distributed."): value
        for key, value in _values(overrides).items()
        if key.startswith("distributed.")
    }
    defaults = DistributedConfig().__dict__
    # A key that there is none of is complained of later, with all others.
    known = {key: value for key, value in given.items() if key in defaults}
    return settings.parse({"distributed": defaults | known})


def _limit_s(overrides: Sequence[str]) -> int:
    asked = _values(overrides).get("timeout_s")
    return max(1, round(asked)) if isinstance(asked, int | float) and math.isfinite(asked) else LIMIT_S


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    """Values by key, as Hydra reads them; nothing for what it will complain of."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, values = OverridesParser.create(), {}
    for word in overrides:
        try:
            (override,) = parser.parse_overrides([word])
            if not override.is_sweep_override():
                values[override.key_or_group] = override.value()
        except HydraException:
            continue
    return values


def _address(coordinator: str) -> tuple[str, int]:
    host, _, port = coordinator.rpartition(":")
    return host.strip("[]"), int(port)


def _check_free(coordinator: str) -> None:
    """Nothing if this process can be met at the port: JAX 0.12 crashes where it cannot."""
    _, port = _address(coordinator)
    for family, host in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            with socket.socket(family) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind((host, port))
            return
        except OSError as error:
            problem = error.strerror or str(error)
    raise UserError(
        f"distributed.coordinator={coordinator}: port {port} cannot be used here: {problem}",
        allowed="a port of this host, which is process 0's, that no other program has",
        fix=f"another port in every process: distributed.coordinator={_address(coordinator)[0]}:{port + 1}",
    )


def _wait_for(coordinator: str, limit_s: int) -> None:
    """Nothing as soon as somebody listens at the address."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            socket.create_connection(_address(coordinator), timeout=CONNECT_S).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"distributed.coordinator={coordinator} could not be reached in {limit_s} s: "
                    f"{error.strerror or error}",
                    allowed="the address of the host of process 0, which has to be running",
                    fix="check the name and the port, and that process 0 has started and no firewall is "
                    "between; for more time: timeout_s=SECONDS",
                ) from None
        time.sleep(POLL_S)


def _initialise(meeting: Meeting, own: Native, limit_s: int) -> None:
    """Join, in a thread, since JAX aborts the one in which it does not succeed."""
    from jax import distributed

    from trainbench.distributed.store import counting_arrivals

    failures: list[Exception] = []
    # The service gives up a little before its clients do, and so can tell them who is missing.
    earlier = max(1, limit_s - 2)

    def join() -> None:
        try:
            with counting_arrivals(earlier):
                distributed.initialize(
                    meeting.coordinator,
                    meeting.num_processes,
                    meeting.process_id,
                    cluster_detection_method=meeting.method,
                    initialization_timeout=limit_s,
                    heartbeat_timeout_seconds=HEARTBEAT_S,
                    shutdown_timeout_seconds=SHUTDOWN_S,
                )
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=join, name="join", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        if own.aborted.is_set():
            raise _not_together(own.text(), limit_s)
    if failures:
        raise _not_joined(meeting, failures[0])


def _not_together(text: str, limit_s: int) -> UserError:
    if "newer incarnation" in text:
        return UserError(
            "another process has come with this one's distributed.process_id",
            allowed="each id from 0 to distributed.num_processes - 1 once",
            fix=BY_HAND,
        )
    came, missing = native.arrivals(text), native.lost_processes(text)
    problem = f"the processes of this run have not come together in {limit_s} s"
    if came is not None:
        problem += f": {came[0]} of {came[1]} came"
        problem += f"; missing: {', '.join(map(str, missing))}" if missing else ""
    return UserError(
        problem,
        allowed="distributed.num_processes processes, started at about the same time, with different ids",
        fix="start the missing ones, or correct distributed.num_processes; for more time: timeout_s=SECONDS",
    )


def _not_joined(meeting: Meeting, error: Exception) -> UserError:
    what = "by hand" if meeting.cluster is None else f"by distributed.cluster={meeting.cluster}"
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return UserError(
        f"the other processes of this run could not be found {what}: {first}",
        allowed="a scheduler that JAX knows, with all its variables set; or the processes by hand",
        fix=f"{BY_HAND}; or distributed.cluster=none for a single process",
    )


def _introduced() -> Members:
    from trainbench.distributed.store import CoordinationStore

    store = CoordinationStore()
    try:
        return Members(store, store.index, store.count)
    except ProcessLost as error:
        raise UserError(str(error), fix="start all processes again") from None
