import os
import signal
import time

import pytest

from trainbench.processes import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_interrupts(number):
    with pytest.raises(KeyboardInterrupt), interrupts.one_wish():
        os.kill(os.getpid(), number)


def test_a_signal_that_follows_at_once_does_nothing():
    survived = False
    with interrupts.one_wish():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            survived = True
    assert survived


def test_a_later_wish_is_a_wish_of_its_own(monkeypatch):
    monkeypatch.setattr(interrupts, "SAME_WISH_S", 0.0)
    caught = 0
    with interrupts.one_wish():
        for _ in range(2):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                caught += 1
    assert caught == 2


def test_the_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts.one_wish():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_wish_can_be_kept_for_later(monkeypatch):
    monkeypatch.setattr(interrupts, "SAME_WISH_S", 0.0)
    wishes = []
    with interrupts.one_wish(lambda: wishes.append("stop")):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert wishes == ["stop", "stop"]


def test_the_first_wish_is_only_noted_and_the_second_is_obeyed(monkeypatch):
    monkeypatch.setattr(interrupts, "SAME_WISH_S", 0.05)
    before = signal.getsignal(signal.SIGTERM)
    with interrupts.noted() as wish:
        assert not wish.said
        signal.raise_signal(signal.SIGTERM)
        assert wish.said
        signal.raise_signal(signal.SIGINT)  # the same wish, by another way
        assert not wish.insisted
        time.sleep(0.06)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert wish.insisted
    assert signal.getsignal(signal.SIGTERM) == before
