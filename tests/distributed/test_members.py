"""The processes of a run as a team, over a store in memory."""

import json
import socket

import pytest

from tests.distributed.stores import Memory, each, members
from trainbench.distributed import members as members_
from trainbench.distributed.agreement import agreed_to_stop, agreement
from trainbench.distributed.members import Members, Said
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.store import Unreachable
from trainbench.distributed.team import Alone, ProcessLost, any_of, largest_of
from trainbench.measure.pauses import Agreed


def test_members_know_each_other_by_index_and_host():
    first, second = members(Memory(), 2)
    host = socket.gethostname()
    assert first.names == second.names == (f"process 0 ({host})", f"process 1 ({host})")
    assert (first.index, second.name) == (0, f"process 1 ({host})")


def test_everybody_hears_what_everybody_says_in_order_of_the_indices():
    team = members(Memory(), 3)
    for turn in range(3):
        said = each(3, lambda index, turn=turn: team[index].exchange(f"{turn}:{index}"))
        assert said == [tuple(f"{turn}:{index}" for index in range(3))] * 3


def test_many_words_are_heard_from_each_as_no_message_holds_them_all():
    store = Memory()
    team = members(store, 3)
    for length in (members_.MOST_PASSED_ON // 2, 5):
        said = each(3, lambda index, length=length: team[index].exchange(str(index) * length))
        assert said == [tuple(str(index) * length for index in range(3))] * 3
        assert max(map(len, store.kept.values())) <= members_.MOST_PASSED_ON


def test_what_all_have_read_does_not_stay_in_the_store():
    store = Memory()
    team = members(store, 2)
    for _ in range(20):
        each(2, lambda index: team[index].exchange("words"))
    assert len(store.kept) == 2


def test_each_process_but_the_first_asks_for_one_answer_however_many_there_are():
    class Counting(Memory):
        asked = 0

        def get(self, key, timeout_s):
            Counting.asked += 1
            return super().get(key, timeout_s)

    team = members(Counting(), 6)
    Counting.asked = 0
    each(6, lambda index: team[index].exchange(str(index)))
    assert Counting.asked == 5 + 5


def test_process_0_gives_up_first_and_names_who_is_silent():
    team = members(Memory(), 3)
    for member in team:
        member.timeout_s = 0.2

    def lost(index):
        if index == 2:
            return "silent"
        try:
            return team[index].exchange("here")
        except ProcessLost as error:
            team[0].store.put("trainbench/words/2/0", json.dumps([str(error)] * 3))
            return str(error)

    first, second, _ = each(3, lost)
    assert first.startswith("process 2")
    assert second == (first,) * 3, "it was still waiting when process 0 gave up"


def test_a_process_that_does_not_answer_in_time_is_named():
    team = members(Memory(), 2)
    team[0].timeout_s = 0.05
    with pytest.raises(ProcessLost, match=r"process 1 \(.+\) has not answered for 0.05 s"):
        team[0].exchange("hello?")


class Gone(Memory):
    """A store that is reached no more."""

    def put(self, key: str, words: str) -> None:
        raise Unreachable("connection refused")


def test_without_its_store_process_0_is_named():
    with pytest.raises(ProcessLost, match=r"process 0.* does not answer"):
        Members(Gone(), 1, 2)


def test_the_first_word_on_how_a_run_has_ended_counts():
    first, second = members(Memory(), 2)
    assert first.told() is None
    second.tell(Said("oom", "too large", lost=(0, 2)))
    first.tell(Said("failed", "later"))
    assert first.told() == second.told() == Said("oom", "too large", index=1, lost=(0, 2))


def test_all_processes_end_with_the_status_that_process_0_gives():
    team = members(Memory(), 3)
    assert each(3, lambda i: team[i].end_together("ok" if i else "invalid", 5)) == ["invalid"] * 3


def test_process_0_does_not_wait_for_lost_processes_at_the_end():
    team = members(Memory(), 2)
    assert team[0].end_together("failed", 1000, lost=1) == "failed"


def test_process_0_waits_no_longer_than_it_is_told():
    team = members(Memory(), 2)
    assert team[0].end_together("ok", 0.1) == "ok"


def test_one_wish_is_the_wish_of_all_and_the_largest_value_that_of_all():
    team = members(Memory(), 2)
    assert each(2, lambda index: any_of(team[index], index == 1)) == [True, True]
    assert each(2, lambda index: any_of(team[index], False)) == [False, False]
    assert each(2, lambda index: largest_of(team[index], 0.1 * (index + 1))) == [0.2, 0.2]
    assert any_of(Alone(), True)
    assert largest_of(Alone(), 0.3) == 0.3


def test_processes_agree_on_the_longest_time_and_stop_when_one_is_asked_to():
    team, pulses = members(Memory(), 2), [Pulse(), Pulse()]
    agrees = [agreement(member, pulse) for member, pulse in zip(team, pulses, strict=True)]
    assert each(2, lambda index: agrees[index](1 / (3 + index))) == [Agreed(1 / 3)] * 2
    pulses[1].wish()
    assert each(2, lambda index: agrees[index](1.0)) == [Agreed(1.0, stop=True)] * 2
    assert [pulse.granted for pulse in pulses] == [True, True]


def test_a_wish_to_stop_that_all_heard_is_granted_in_all():
    team, pulses = members(Memory(), 2), [Pulse(), Pulse()]
    pulses[1].wish()
    assert each(2, lambda index: agreed_to_stop(team[index], pulses[index])) == [True, True]
    assert [pulse.granted for pulse in pulses] == [True, True]
    assert not agreed_to_stop(Alone(), Pulse())


def test_a_process_alone_agrees_with_itself():
    assert agreement(Alone(), None)(0.25) == Agreed(0.25)
