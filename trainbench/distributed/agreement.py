"""What the processes of a run have to agree on while they measure."""

import json

from trainbench.distributed.pulse import Pulse
from trainbench.distributed.team import Team, any_of
from trainbench.measure.pauses import Agree, Agreed
from trainbench.processes.interrupts import Wish


def agreement(team: Team, pulse: Pulse | None) -> Agree:
    """What `measure` asks after each block: the time of the slowest process, and whether one is to stop."""
    if pulse is None:
        return Agreed

    def agree(block_s: float) -> Agreed:
        said = [json.loads(words) for words in team.exchange(json.dumps([block_s, pulse.wishes > 0]))]
        stop = any(one[1] for one in said)
        if stop:
            pulse.grant()
        return Agreed(max(one[0] for one in said), stop)

    return agree


def agreed_to_stop(team: Team, wish: Wish) -> bool:
    """Whether any process was asked to stop; each then comes to its end with all others."""
    stop = any_of(team, wish.said)
    if stop:
        wish.grant()
    return stop
