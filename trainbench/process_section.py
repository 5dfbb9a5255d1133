"""What each process of a run says of itself, for the record, and which one holds up the others."""

from collections.abc import Iterator, Sequence
from statistics import mean, median

import jax

from trainbench.distributed.members import Members
from trainbench.results.record import Process
from trainbench.run import Parts

# A process stands apart when it takes twice what the middle one of the others takes, and when what it takes
# more is a twentieth of a step: less would not show in the throughput.
TIMES, OF_A_STEP = 2.0, 0.05
_KINDS = {
    "input_wait_s": "waits {0:.3g} s a step for its input",
    "host_dispatch_s": "takes {0:.3g} s to issue a step",
}


def gathered(parts: Parts, members: Members) -> tuple[Process, ...]:
    """All processes of the run; each one has to call this."""
    said = members.exchange(_own(parts, members).model_dump_json())
    return tuple(Process.model_validate_json(words) for words in said)


def _own(parts: Parts, members: Members) -> Process:
    timing = parts.timing
    process = Process(
        index=members.index, host=members.hosts[members.index], devices=jax.local_device_count()
    )
    if timing is None or not timing.own_block_s:
        return process
    return process.model_copy(
        update={
            "step_time_s": median(timing.own_block_s) / timing.steps_per_block,
            "host_dispatch_s": timing.host_dispatch_s,
            "input_wait_s": mean(parts.waits_s) / timing.steps_per_block,
        }
    )


def stragglers(processes: Sequence[Process]) -> Iterator[str]:
    """One line for each process whose input, or whose host, takes clearly longer than those of the others."""
    for process in processes:
        others = [other for other in processes if other is not process]
        for field, words in _KINDS.items():
            own = getattr(process, field)
            theirs = [value for other in others if (value := getattr(other, field)) is not None]
            if own is None or not theirs or process.step_time_s is None:
                continue
            usual = median(theirs)
            if own > TIMES * usual and own - usual > OF_A_STEP * process.step_time_s:
                yield (
                    f"straggler: process {process.index} ({process.host}) {words.format(own)}; "
                    f"the others {usual:.3g} s"
                )
                break
