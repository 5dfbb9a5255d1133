"""Real processes that are killed or told to stop while they save, and the same command afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import commands
from tests.building import SHALLOW
from tests.commands import environment, result_of
from trainbench.checkpoints import files

COMMAND = (
    *SHALLOW["resnet_tiny"],
    *("batch_size=8", "measure=quick", "steps=240", "warmup=1", "measure.warmup_max_steps=20"),
    *("checkpoint.every=20", "checkpoint.dir=ck", "hydra.run.dir=out"),
)


def until(condition: Callable[[], bool], limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.001)


@contextmanager
def running(cache: Path, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "trainbench", *COMMAND],
        cwd=directory,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def being_saved(directory: Path) -> bool:
    """Whether a checkpoint is being written that is not the first one."""
    names = [path.name for path in directory.glob("ck/*")]
    return any(name.isdigit() for name in names) and any("tmp" in name for name in names)


@pytest.fixture(scope="module")
def killed(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory whose run was killed with -9 during a save."""
    directory = tmp_path_factory.mktemp("killed")
    for _ in range(5):
        with running(cache, directory) as process:
            until(lambda: being_saved(directory))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        if list(directory.glob("ck/*tmp*")):
            return directory
        # The save was over before the signal came.
        shutil.rmtree(directory / "ck")
    raise AssertionError("no save was met")


@pytest.fixture
def work(killed: Path, tmp_path: Path) -> Path:
    """A copy of that directory."""
    shutil.copytree(killed, tmp_path / "work")
    return tmp_path / "work"


def test_a_kill_during_a_save_leaves_the_earlier_checkpoint_and_sigterm_and_the_same_command_go_on(
    cache, work
):
    steps = files.steps_in(work / "ck")
    assert len(steps) >= 1
    assert not (work / "out" / "result.json").exists()

    with running(cache, work) as process:
        until(lambda: len(set(files.steps_in(work / "ck")) - set(steps)) >= 2 or process.poll() is not None)
        process.terminate()
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert f"going on from optimizer step {steps[-1]}" in errors
    assert "killed" in errors
    assert "Traceback" not in errors
    record = result_of(work / "out")
    assert record["status"] == "interrupted"
    assert "the same command goes on from optimizer step" in record["status_reason"]
    assert "INTERRUPTED" in output
    saved = files.steps_in(work / "ck")[-1]
    assert f"optimizer step {saved}" in record["status_reason"]

    done = commands.run(cache, work, *COMMAND)
    assert done.returncode == 0, done.stderr
    assert f"going on from optimizer step {saved}" in done.stderr
    record = result_of(work / "out")
    segments = record["segments"]
    assert [one["ended"] for one in segments] == ["killed", "interrupted", "ok"]
    assert sum(one["blocks"] for one in segments) == len(record["timing"]["block_s"])
    assert record["timing"]["timed_steps"] == 240
    assert record["timing"]["compilations_in_window"] == 0
    assert segments[2]["first_step"] == record["checkpoint"]["restored_step"] == saved
    assert record["checkpoint"]["restore_s"] > 0
    assert "3 segments" in done.stdout


def test_a_damaged_checkpoint_ends_with_one_screen(cache, work):
    newest = files.steps_in(work / "ck")[-1]
    largest = max(
        (path for path in (work / "ck" / str(newest)).rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    os.truncate(largest, 10)
    done = commands.run(cache, work, *COMMAND)
    assert done.returncode == 2, done.stderr
    assert "is damaged" in done.stderr
    assert f"mv {work / 'ck' / str(newest)}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_checkpoint_of_another_model_ends_with_one_screen(cache, work):
    done = commands.run(cache, work, *SHALLOW["vit_tiny"], *COMMAND[2:])
    assert done.returncode == 2, done.stderr
    assert "another model" in done.stderr
    assert "is missing there and float32[" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (work / "out" / "result.json").exists()
