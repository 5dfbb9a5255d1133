"""One benchmark of several processes: process 0 writes and shows the result, the others only what failed."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainbench import benchmark, config, process_section
from trainbench.assemble import Ending
from trainbench.autos import Auto
from trainbench.distributed import watchdog as watching
from trainbench.distributed.farewell import FAREWELL_S, within
from trainbench.distributed.members import Members, Said
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.start import Joined
from trainbench.distributed.supervised import supervised
from trainbench.distributed.watchdog import Told, Watchdog
from trainbench.errors import EXIT_CODES, ExitCode, UserError
from trainbench.measure.trace import READ_LIMIT_S
from trainbench.processes import interrupts
from trainbench.pytorch import settings
from trainbench.report.progress import ProgressLine
from trainbench.run import Parts, run
from trainbench.training.compile import enable_compilation_cache

# Process 0 has to put the record together and draw a chart, before the others hear how the run has ended.
LAST_WORDS_S = 120.0


def run_and_show(tree: Mapping[str, Any], directory: Path, command: str, joined: Joined) -> ExitCode:
    """Take part in the run that `tree` describes; in process 0 the same as `benchmark.run_and_show`.

    Raises:
      UserError: the configuration is wrong, here or in another process, or nothing can be written there.
    """
    members, pulse, request = joined.members, Pulse(), config.parse(tree)
    settings.refuse(request.framework, "a run of several processes")
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
    try:
        with ProgressLine(None if writes else io.StringIO()) as progress, interrupts.one_wish(pulse.wish):
            pulse.phase = progress
            ending, lost = _ending(parts, progress, members, watchdog)
        watchdog.stop()
        if chosen and parts.config is not None:
            auto = Auto(watching.DEFAULT_S, watching.DEFAULT_REASON)
            parts.config = parts.config.with_autos({"timeout_s": auto})
        return _end(parts, ending, directory, members, lost)
    finally:
        if parts.checkpoints is not None:
            within(FAREWELL_S, parts.checkpoints.close)


def _ending(
    parts: Parts, progress: ProgressLine, members: Members, watchdog: Watchdog
) -> tuple[Ending, tuple[int, ...]]:
    """How the run ended, and who was lost; the others have been told what they don't know by themselves."""
    assert parts.pulse is not None
    pulse = parts.pulse
    lost: tuple[int, ...] = ()

    def work() -> None:
        run(parts, progress)
        if parts.timing is not None and parts.timing.error is None:
            if parts.request.trace and members.timeout_s is not None:
                # Process 0 may still be reading the trace.
                members.timeout_s += READ_LIMIT_S
            parts.processes = process_section.gathered(parts, members)

    def carry_out(parts: Parts, progress: ProgressLine) -> None:
        nonlocal lost
        del parts, progress
        try:
            supervised(work, watchdog, pulse)
        except Told as told:
            said, lost = told.said, told.said.lost
            if said.status == "user_error":
                who = members.names[said.index]
                raise UserError(f"{who}: {said.reason}", allowed=said.allowed, fix=said.fix) from None
            raise

    ending = benchmark.attempt(parts, progress, carry_out)
    if ending.status != "ok" and not parts.processes and 0 not in lost:
        said = Said(ending.status, f"{members.name}: {ending.reason}")
        within(FAREWELL_S, lambda: members.tell(said))
    return ending, lost


def _end(parts: Parts, ending: Ending, directory: Path, members: Members, lost: tuple[int, ...]) -> ExitCode:
    """The exit code, which all processes have in common."""
    if members.index == 0:
        status: str = benchmark.conclude(parts, ending, directory).status
    else:
        status = ending.status
        if status != "ok":
            print(f"{members.name}: {status}: {ending.reason}", file=sys.stderr)
    if 0 in lost:
        return EXIT_CODES[status]
    wait_s = LAST_WORDS_S if parts.processes and members.index else FAREWELL_S
    return EXIT_CODES[within(wait_s, lambda: members.end_together(status, wait_s, len(lost))) or status]
