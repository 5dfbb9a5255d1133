"""Saves between timed blocks, against a clock and a program of known durations."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from trainbench.checkpoints.notes import Notes
from trainbench.checkpoints.saver import Saver, reason
from trainbench.distributed.team import Alone
from trainbench.measure.blocks import Timing, measure
from trainbench.measure.pauses import Measured
from trainbench.measure.plan import Plan
from trainbench.measure.selftest import FakeClock, FakeProgram
from trainbench.measure.steady import Steadiness

STEP_S = 0.1
PLAN = Plan(calls=40, calls_per_block=4, warmup_min_calls=0, warmup_max_calls=40, window=4)
BLOCK_S = 4 * STEP_S


@dataclass
class FakeSaving:
    """A save that blocks for a moment and is over after some seconds of the fake clock."""

    clock: FakeClock
    started_s: float
    blocked_until_s: float
    lasts_s: float
    error: Exception | None = None

    @property
    def _end_s(self) -> float:
        return self.started_s + self.lasts_s

    @property
    def over(self) -> bool:
        return self.clock.now_s >= self._end_s - 1e-9

    @property
    def ended_s(self) -> float | None:
        return self._end_s if self.over and self.error is None else None

    def wait(self) -> None:
        self.clock.now_s = max(self.clock.now_s, self._end_s)


@dataclass
class SlowedProgram(FakeProgram):
    """One whose calls take longer while something is saved, and which does what is due in its next call."""

    saving: FakeSaving | None = None
    slowdown: float = 1.0
    due: Callable[[], None] | None = None

    def issue(self) -> None:
        if self.due is not None:
            due, self.due = self.due, None
            due()
        super().issue()

    def _next_call_s(self) -> float:
        beside = self.saving is not None and not self.saving.over
        return super()._next_call_s() * (self.slowdown if beside else 1.0)


@dataclass
class Wish:
    """Said when so many timed blocks are measured."""

    rig: "Rig"
    insisted: bool = False
    granted: bool = False

    @property
    def said(self) -> bool:
        return len(self.rig.saver.measured.block_s) == self.rig.wish_at_block

    def grant(self) -> None:
        self.granted = True


@dataclass
class Rig:
    """A saver with its fakes; `wish_at_block` is the timed block after which somebody wishes to stop."""

    every_blocks: int = 2
    blocking_s: float = 0.05
    lasts_s: float = 3 * BLOCK_S
    slowdown: float = 1.0
    timed: bool = False
    settling_blocks: int = 1
    errors: dict[int, Exception] = field(default_factory=dict)
    wish_at_block: int | None = None
    saved: list[Notes] = field(default_factory=list)
    recovered: int = 0

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.program = SlowedProgram(self.clock, [STEP_S], slowdown=self.slowdown)
        self.wish = Wish(self)
        self.saver = Saver(
            plan=PLAN,
            every_blocks=self.every_blocks,
            timed=self.timed,
            settling_blocks=self.settling_blocks,
            team=Alone(),
            begin=self.begin,
            recover=self.recover,
            notes=self.notes,
            in_next_call=lambda work: setattr(self.program, "due", work),
            wish=self.wish,
        )

    def begin(self, notes: Notes) -> FakeSaving:
        error = self.errors.get(len(self.saved))
        self.saved.append(notes)
        started_s = self.clock.now_s
        self.clock.advance(self.blocking_s)
        saving = FakeSaving(self.clock, started_s, self.clock.now_s, self.lasts_s, error)
        self.program.saving = saving
        return saving

    def recover(self) -> None:
        self.recovered += 1

    def notes(self, measured: Measured) -> Notes:
        return Notes(self.program.issued, 8, {}, PLAN, {}, measured, (), (), (), ())

    def run(self, earlier: Measured | None = None) -> Timing:
        return measure(self.program, PLAN, clock=self.clock, between=self.saver.between, earlier=earlier)


@pytest.mark.parametrize(("every_blocks", "at"), [(2, [2, 4, 6, 8, 10]), (3, [3, 6, 9, 10]), (99, [10])])
def test_saves_begin_at_block_ends_and_the_last_block_is_always_saved(every_blocks, at):
    rig = Rig(every_blocks=every_blocks)
    rig.run()
    assert [len(notes.measured.block_s) for notes in rig.saved] == at
    assert all(notes.step % PLAN.calls_per_block == 0 for notes in rig.saved)


def test_saves_are_not_in_the_timed_window():
    with_saves, without = Rig(slowdown=3.0), Rig(every_blocks=99)
    assert with_saves.run().block_s == pytest.approx([BLOCK_S] * 10)
    assert without.run().block_s == pytest.approx([BLOCK_S] * 10)
    assert with_saves.program.issued > without.program.issued, "blocks ran beside the saves"


def test_the_slowdown_is_that_of_blocks_wholly_beside_a_save():
    # A block takes 0.8 s beside a save; the save ends within the second one, whose time tells nothing.
    rig = Rig(slowdown=2.0, blocking_s=0.05, lasts_s=1.2)
    rig.run()
    first = rig.saver.saves[0]
    assert first.beside_s == pytest.approx((0.8,))
    assert first.blocking_s == pytest.approx(0.05)
    assert first.save_s == pytest.approx(1.2)


def test_a_save_that_is_over_at_once_still_leaves_a_block_to_settle():
    rig = Rig(lasts_s=0.0, blocking_s=0.0, every_blocks=5)
    timing = rig.run()
    assert rig.saver.saves[0].beside_s == ()
    beside = rig.program.issued - timing.warmup_steps - timing.timed_steps
    assert beside == PLAN.calls_per_block, "after the first save; none after the last block"


def test_as_many_blocks_settle_as_use_up_the_input_that_got_ready():
    rig = Rig(lasts_s=0.0, blocking_s=0.0, every_blocks=5, settling_blocks=3)
    timing = rig.run()
    assert rig.program.issued - timing.warmup_steps - timing.timed_steps == 3 * PLAN.calls_per_block


def test_timed_saves_count_in_the_block_after_them():
    rig = Rig(timed=True, every_blocks=5, blocking_s=0.05, slowdown=2.0, lasts_s=0.4)
    timing = rig.run()
    # The sixth block: 0.05 s that the save blocks, and the calls dispatched beside it at half the speed.
    assert timing.block_s[5] > BLOCK_S + 0.05
    others = [*timing.block_s[:5], *timing.block_s[6:]]
    assert others == pytest.approx([BLOCK_S] * 9)
    assert rig.program.issued == timing.warmup_steps + timing.timed_steps, "nothing runs beside"
    assert [save.beside_s for save in rig.saver.saves] == [(), ()]


def test_a_save_that_fails_costs_no_measurement_and_the_next_one_is_tried():
    rig = Rig(errors={0: OSError("the disk is on fire")})
    timing = rig.run()
    assert timing.block_s == pytest.approx([BLOCK_S] * 10)
    assert rig.saver.failures == [
        f"the checkpoint of optimizer step {rig.saved[0].step} was not saved: the disk is on fire"
    ]
    assert len(rig.saver.saves) == 4
    assert rig.recovered == 1
    assert rig.saver.saved_blocks == 10


def test_a_first_save_that_fails_is_told_before_anything_is_timed():
    rig = Rig(errors={0: OSError("No space left on device")})
    with pytest.raises(OSError, match="step 0 was not saved: no space left on the disk"):
        rig.saver.first()
    rig = Rig()
    rig.saver.first()
    assert rig.saver.saved_blocks == 0
    assert rig.saver.saves == [], "what a first save takes is not what saving costs"


@pytest.mark.parametrize(("wish_at_block", "saves"), [(3, [2, 3]), (4, [2, 4])])
def test_a_wish_to_stop_is_heeded_at_a_block_end_and_the_blocks_are_saved_once(wish_at_block, saves):
    rig = Rig(wish_at_block=wish_at_block)
    timing = rig.run()
    assert timing.interrupted
    assert len(timing.block_s) == wish_at_block
    assert rig.wish.granted, "or a process of several would be left behind before it has saved"
    rig.saver.stop()
    assert [len(notes.measured.block_s) for notes in rig.saved] == saves
    assert rig.saver.saved_blocks == wish_at_block


def test_a_wish_in_the_warmup_saves_how_far_the_training_is():
    rig = Rig()
    rig.saver.first()
    rig.program.issue()
    rig.saver.stop()
    assert [notes.step for notes in rig.saved] == [0, 1]


def test_a_measurement_goes_on_with_the_blocks_that_are_missing():
    earlier = Measured((0.5, 0.6, 0.7), (0.1, 0.1, 0.1), Steadiness(True, "settled"))
    rig = Rig(every_blocks=99, lasts_s=0.0)
    timing = rig.run(earlier)
    assert timing.block_s == pytest.approx([0.5, 0.6, 0.7, *[BLOCK_S] * 7])
    assert timing.timed_steps == PLAN.calls
    assert rig.program.issued == timing.warmup_steps + 7 * PLAN.calls_per_block
    assert [len(notes.measured.block_s) for notes in rig.saved] == [10]


def test_an_interrupt_in_the_warmup_leaves_the_earlier_blocks_in_the_result():
    rig = Rig()
    rig.program.interrupt_at_call = 5
    timing = rig.run(Measured((0.5, 0.6), (0.1, 0.1), Steadiness(True, "settled")))
    assert timing.interrupted
    assert timing.block_s == (0.5, 0.6)
    assert not timing.steady


def test_nothing_is_timed_again_when_no_block_is_missing():
    earlier = Measured((BLOCK_S,) * 10, (0.0,) * 10, Steadiness(True, "settled"))
    rig = Rig()
    timing = rig.run(earlier)
    assert timing.block_s == earlier.block_s
    assert rig.saved == []


def test_a_warmup_that_never_settled_is_remembered():
    restless = Steadiness(False, "never settled")
    timing = Rig().run(Measured((BLOCK_S,), (0.0,), restless))
    assert not timing.steady
    assert "never settled" in timing.steady_reason
    assert Rig().run(replace(Measured(), warmup=restless)).steady, "with no block of it, it doesn't matter"


def test_a_library_that_quotes_everything_is_cut_short():
    assert len(reason(ValueError("x" * 5000))) < 200
