"""A training step in PyTorch as `measure` wants it, and what may not happen while it is timed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from trainbench.data.feed import Resident
from trainbench.measure.errors import MeasurementError
from trainbench.measure.guards import TimedWindow
from trainbench.training.program import TrainingProgram

# A CUDA graph is recorded at the third call: the first compiles, the second warms up.
FIRST_CALLS = 4

Step = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


def call(step: Step, batch: Mapping[str, torch.Tensor]) -> tuple[Step, dict[str, torch.Tensor]]:
    """One training step: the state, which the step holds and moves on in place, and the loss."""
    return step, {"loss": step(batch)}


class TorchProgram(TrainingProgram):
    """A step that moves its state on in place, with its feed."""

    def first_call(self) -> bool:
        """Run what compiles, and what records graphs; whether the new state is where the old one was."""
        for _ in range(FIRST_CALLS):
            self.issue()
            self.fence()
        return True

    def resident(self) -> "TorchProgram":
        assert self._batch is not None
        return TorchProgram(self._call, self._state, Resident(self._batch), self._steps_per_call)

    def _wait(self) -> None:
        # A graph writes the next loss to the same place.
        loss: Any = self._metrics["loss"]
        self._metrics = {"loss": loss.clone()}
        synchronise(loss)


def synchronise(tensor: Any) -> None:
    """Returns when the device of `tensor` has done everything; a CPU has, as it computes at once."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


class TorchWindow(TimedWindow):
    """Guards every timed block: no compilation, and on a GPU no operation that waits for it in between."""

    def __init__(self, *, compiled: bool) -> None:
        super().__init__()
        self._compiled = compiled

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Raises MeasurementError where a step would be compiled anew, or makes the host wait."""
        with ExitStack() as guards:
            if torch.cuda.is_available():
                guards.enter_context(_no_waiting())
            if self._compiled:
                guards.enter_context(torch.compiler.set_stance("fail_on_recompile"))
            try:
                yield
            except RuntimeError as error:
                self._judge(error)
                raise

    def _judge(self, error: RuntimeError) -> None:
        text = str(error)
        if "synchronizing CUDA operation" in text:
            self.transfer_error = text
            raise MeasurementError(f"the host waited for the device in the timed window: {text}") from error
        if "recompile" in text:
            self.compilations += 1
            raise MeasurementError(f"torch.compile compiled anew in the timed window: {text}") from error


@contextmanager
def _no_waiting() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
