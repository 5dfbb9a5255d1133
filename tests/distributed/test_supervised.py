"""Work that other processes may hold up for ever."""

import threading

import jax
import pytest

from trainbench.distributed.members import Said
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.supervised import supervised
from trainbench.distributed.watchdog import Told

LOST = Said("failed", "process 1 (b) is gone", lost=(1,))


class Dog:
    """A watchdog that finds what it is given."""

    def __init__(self, found=None, lost=None):
        self.found, self.lost = found, lost

    def check(self):
        return self.found

    def lost_now(self):
        return self.lost


@pytest.fixture
def hanging():
    """Work that does not return before the test has ended."""
    end = threading.Event()
    yield end.wait
    end.set()


def training():
    """The pulse of a process that takes part in steps."""

    class Program:
        steps = 0

        def steps_in_flight(self):
            return 0

    return Pulse(_program=Program())


def test_what_the_work_gives_is_given_and_what_it_raises_is_raised():
    assert supervised(lambda: 7, Dog(), Pulse()) == 7
    with pytest.raises(ZeroDivisionError):
        supervised(lambda: 1 / 0, Dog(), Pulse())


def test_a_lost_process_ends_work_that_hangs(hanging):
    with pytest.raises(Told, match="process 1") as caught:
        supervised(hanging, Dog(LOST), training())
    assert caught.value.said == LOST


def test_a_wish_ends_at_once_what_no_other_process_waits_for(hanging):
    pulse = Pulse()
    pulse.wish()
    with pytest.raises(KeyboardInterrupt):
        supervised(hanging, Dog(), pulse)


def test_while_all_train_only_the_second_wish_ends_at_once(hanging):
    pulse = training()
    pulse.wish()
    threading.Timer(0.5, pulse.wish).start()
    with pytest.raises(KeyboardInterrupt):
        supervised(hanging, Dog(), pulse)
    assert pulse.wishes == 2


def test_a_wish_that_all_have_granted_lets_the_work_come_to_its_end():
    pulse = Pulse(wishes=1, granted=True)
    assert supervised(lambda: threading.Event().wait(0.3), Dog(), pulse) is False


def failing():
    raise jax.errors.JaxRuntimeError("INTERNAL: Error dispatching computation: Connection reset by peer")


def test_an_error_of_the_runtime_is_the_loss_of_a_process_where_one_is_lost():
    with pytest.raises(Told, match="process 1"):
        supervised(failing, Dog(lost=LOST), training())
    with pytest.raises(jax.errors.JaxRuntimeError):
        supervised(failing, Dog(), training())
