import pytest

from trainbench.interruptible import interruptible


def test_result_and_error_come_through():
    assert interruptible(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)
