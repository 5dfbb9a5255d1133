"""One benchmark of several processes: process 0 writes and shows the result, the others only what failed."""

import io
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from trainbench import benchmark, config, process_section
from trainbench.assemble import Ending
from trainbench.autos import Auto
from trainbench.distributed import watchdog as watching
from trainbench.distributed.members import Members, Said
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.start import Joined
from trainbench.distributed.supervised import supervised
from trainbench.distributed.watchdog import Told, Watchdog
from trainbench.errors import EXIT_CODES, ExitCode, UserError
from trainbench.processes import interrupts
from trainbench.report.progress import ProgressLine
from trainbench.run import Parts, run
from trainbench.training.compile import enable_compilation_cache

T = TypeVar("T")

# Process 0 has to put the record together and draw a chart, before the others hear how the run has ended.
LAST_WORDS_S = 120.0
# After a failure nobody waits long for a process that may be gone.
FAREWELL_S = 5.0


@contextmanager
def telling(joined: Joined | None) -> Iterator[None]:
    """In here a mistake of the user's, in this process, ends the run for the others too."""
    if joined is None:
        yield
        return
    members = joined.members
    try:
        yield
    except UserError as error:
        said = Said("user_error", error.problem, error.allowed, error.fix)
        within(FAREWELL_S, lambda: members.tell(said))
        within(FAREWELL_S, lambda: members.end_together("failed", FAREWELL_S))
        if not members.index:
            raise
        raise UserError(f"{members.name}: {error.problem}", allowed=error.allowed, fix=error.fix) from None


def run_and_show(tree: Mapping[str, Any], directory: Path, command: str, joined: Joined) -> ExitCode:
    """Take part in the run that `tree` describes; in process 0 the same as `benchmark.run_and_show`.

    Raises:
      UserError: the configuration is wrong, here or in another process, or nothing can be written there.
    """
    members, pulse, request = joined.members, Pulse(), config.parse(tree)
    writes = members.index == 0
    if writes:
        benchmark.prepare(request, directory)
    enable_compilation_cache()
    chosen = request.timeout_s == "default"
    timeout_s = watching.DEFAULT_S if isinstance(request.timeout_s, str) else request.timeout_s
    members.timeout_s = timeout_s
    watchdog = Watchdog(members, pulse, joined.native, timeout_s)
    watchdog.start()
    parts = Parts(request, tree, command, directory if writes else None, members, pulse)
    with ProgressLine(None if writes else io.StringIO()) as progress, interrupts.one_wish(pulse.wish):
        pulse.phase = progress
        ending = _ending(parts, progress, members, watchdog)
    watchdog.stop()
    if chosen and parts.config is not None:
        auto = Auto(watching.DEFAULT_S, watching.DEFAULT_REASON)
        parts.config = parts.config.with_autos({"timeout_s": auto})
    return _end(parts, ending, directory, members)


def _ending(parts: Parts, progress: ProgressLine, members: Members, watchdog: Watchdog) -> Ending:
    """How the run ended, which the other processes have been told if they do not know it by themselves."""
    assert parts.pulse is not None
    pulse = parts.pulse

    def work() -> None:
        run(parts, progress)
        if parts.timing is not None and parts.timing.error is None:
            parts.processes = process_section.gathered(parts, members)

    def carry_out(parts: Parts, progress: ProgressLine) -> None:
        del parts, progress
        try:
            supervised(work, watchdog, pulse)
        except Told as told:
            said = told.said
            if said.status == "user_error":
                who = members.names[said.index]
                raise UserError(f"{who}: {said.reason}", allowed=said.allowed, fix=said.fix) from None
            raise

    ending = benchmark.attempt(parts, progress, carry_out)
    if ending.status != "ok" and not parts.processes:
        said = Said(ending.status, f"{members.name}: {ending.reason}")
        within(FAREWELL_S, lambda: members.tell(said))
    return ending


def _end(parts: Parts, ending: Ending, directory: Path, members: Members) -> ExitCode:
    """The exit code, which all processes have in common."""
    together = bool(parts.processes)
    if members.index == 0:
        status: str = benchmark.conclude(parts, ending, directory).status
    else:
        status = ending.status
        if status != "ok":
            print(f"{members.name}: {status}: {ending.reason}", file=sys.stderr)
    wait_s = LAST_WORDS_S if together and members.index else FAREWELL_S
    return EXIT_CODES[within(wait_s, lambda: members.end_together(status, wait_s)) or status]


def within(limit_s: float, work: Callable[[], T]) -> T | None:
    """What `work` gives, None if it takes longer: a store in a process that is stopped never answers."""
    outcome: list[T] = []
    thread = threading.Thread(target=lambda: outcome.append(work()), name="farewell", daemon=True)
    thread.start()
    thread.join(limit_s)
    return outcome[0] if outcome else None
