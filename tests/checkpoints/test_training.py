"""A training that is broken off and goes on is the one that was never broken off."""

import io
import itertools
import signal
from datetime import UTC, datetime

import jax
import pytest

from tests.building import SHALLOW, request, tree
from trainbench.assemble import Ending, assemble
from trainbench.processes import interrupts
from trainbench.report.progress import ProgressLine
from trainbench.run import Parts, build
from trainbench.train import Trained, train

FEW = ("batch_size=4", "measure=quick", "steps=12", "warmup=1", "measure.warmup_max_steps=9")


class Stopping(ProgressLine):
    """Asks the program to stop after so many timed blocks, as a scheduler does."""

    def __init__(self, after_block: int | None) -> None:
        super().__init__(io.StringIO())
        self._words = f"measuring block {after_block}/"

    def update(self, text: str) -> None:
        if text.startswith(self._words):
            signal.raise_signal(signal.SIGTERM)


def trained(tmp_path, *overrides: str, after_block: int | None = None) -> tuple[Trained, Parts]:
    """One process's part of a run, which is asked to stop after a timed block, or never."""
    parts = Parts(request(*overrides), tree(*overrides), "", tmp_path, started=datetime.now(UTC))
    with interrupts.one_wish(), Stopping(after_block) as progress:
        _, trainer = build(parts, progress, tmp_path)
        result = train(trainer, trainer.config.input)
    parts.timing, parts.window = result.timing, result.window
    parts.donated, parts.losses = result.donated, result.losses
    if parts.checkpoints:
        parts.checkpoints.end("interrupted" if result.timing.interrupted else "ok")
        parts.checkpoints.close()
    return result, parts


@pytest.mark.parametrize(
    "input_",
    [("data=digits", "input=real", "steps_per_call=2", "steps=24"), ("input=host",)],
    ids=["digits", "synthetic"],
)
def test_losses_after_going_on_are_those_of_a_run_that_never_stopped(tmp_path, input_):
    common = (*SHALLOW["vit_tiny"], *FEW, *input_)
    saving = (*common, "checkpoint.every=4", f"checkpoint.dir={tmp_path / 'ck'}")
    # With a warm-up that lasts as long as those of the two together.
    straight, _ = trained(tmp_path, *common, "steps=60", "warmup=40")
    first, _ = trained(tmp_path, *saving, after_block=3)
    assert first.timing.interrupted
    assert len(first.timing.block_s) == 3
    second, parts = trained(tmp_path, *saving)
    assert not second.timing.interrupted
    assert second.timing.block_s[:3] == first.timing.block_s
    assert len(second.timing.block_s) == second.plan.blocks
    assert second.plan == first.plan
    assert len(second.waits_s) == len(second.timing.own_block_s) == second.plan.blocks - 3

    expected, found = dict(straight.losses), dict(second.losses)
    same = expected.keys() & found.keys()
    assert {step: found[step] for step in same} == {step: expected[step] for step in same}, "bit for bit"
    session = parts.checkpoints
    assert session is not None
    assert session.restored is not None
    assert any(step > session.restored.step for step in same), "some of them came after the stop"
    assert session.blocks_of(len(second.timing.block_s)).count(0) == 3

    record = assemble(parts, Ending("ok"))
    assert [(one.blocks, one.ended) for one in record.segments] == [
        (3, "interrupted"),
        (second.plan.blocks - 3, "ok"),
    ]
    assert record.segments[1].first_step == session.restored.step
    assert record.checkpoint is not None
    assert record.checkpoint.restored_step == session.restored.step
    assert record.checkpoint.bytes_per_s == pytest.approx(
        (record.checkpoint.size_bytes or 0) / (record.checkpoint.save_s or 1)
    )


def test_on_another_number_of_devices_the_training_goes_on_and_the_window_begins_anew(tmp_path):
    common = (*SHALLOW["vit_tiny"], *FEW, "checkpoint.every=4", f"checkpoint.dir={tmp_path / 'ck'}")
    if jax.device_count() < 2:
        pytest.skip("one device only")
    first, _ = trained(tmp_path, *common, "parallel.data=2", after_block=3)
    second, parts = trained(tmp_path, *common, "parallel.data=1")
    session = parts.checkpoints
    assert session is not None
    assert session.restored is not None
    assert session.restored.step == first.program.steps
    assert len(session.restored.measured.block_s) == 3
    record = assemble(parts, Ending("ok"))
    assert len(second.timing.block_s) == second.plan.blocks
    assert [(one.blocks, one.device_count) for one in record.segments] == [(0, 2), (second.plan.blocks, 1)]
    told = [line for line in record.warnings if line.startswith("segments:")]
    assert any("the number of devices was 2 and is 1" in line and "3 from before" in line for line in told)
    assert any("global batch was 8 and is 4" in line for line in told)
    steps = [step for step, _ in second.losses]
    assert all(before < after for before, after in itertools.pairwise(steps)), "one training"
