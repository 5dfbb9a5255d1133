"""The program that is timed: its fence, its losses, what its guard finds; and put."""

import numpy as np
import pytest

from tests.pytorch.making import CPU, torch
from trainbench.data.feed import Resident
from trainbench.measure.errors import MeasurementError
from trainbench.pytorch.program import FIRST_CALLS, TorchProgram, TorchWindow, call
from trainbench.pytorch.run import put

pytestmark = pytest.mark.torch


def counting():
    """A step whose loss tells how often it ran, always in the same tensor, as a recorded graph has it."""
    loss = torch.zeros(())

    def step(batch):
        return loss.add_(1)

    return step


def program():
    return TorchProgram(call, counting(), Resident({}), 1)


def test_a_loss_is_that_of_its_own_fence_though_a_later_step_writes_to_the_same_place():
    running = program()
    for _ in range(3):
        running.issue()
        running.fence()
    assert running.losses() == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_what_compiles_runs_ahead_of_everything_else_and_counts_as_steps():
    running = program()
    assert running.first_call() is True
    assert running.steps == FIRST_CALLS


def test_a_resident_program_goes_on_with_the_state():
    running = program()
    running.issue()
    running.fence()
    after = running.resident()
    assert isinstance(after, TorchProgram)
    after.issue()
    after.fence()
    assert after.losses() == [(1, 2.0)]


def test_a_compilation_in_the_timed_window_makes_it_invalid():
    window = TorchWindow(compiled=True)
    compiled = torch.compile(lambda one: one + 1, backend="eager", dynamic=False)
    compiled(torch.zeros(2))
    with window():
        compiled(torch.zeros(2))
    with pytest.raises(MeasurementError, match="compiled anew"), window():
        compiled(torch.zeros(3, 3))
    assert window.compilations == 1


def test_another_error_passes_through_the_guard():
    with pytest.raises(RuntimeError, match="of its own"), TorchWindow(compiled=False)():
        raise RuntimeError("of its own")


def test_a_batch_on_a_cpu_is_the_host_batch_itself():
    host = {"image": np.arange(6, dtype=np.uint8), "mask": np.array([True, False])}
    moved = put(host, device=CPU)
    assert moved["image"].data_ptr() == host["image"].ctypes.data
    assert moved["mask"].dtype == torch.bool
