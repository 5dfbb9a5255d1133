"""Several real processes as one run, on simulated CPU devices."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tests.building import SHALLOW
from tests.commands import result_of

LAUNCHER = Path(__file__).parents[2] / "scripts" / "launch_local.py"
SMALL = (*SHALLOW["vit_tiny"], "precision=fp32", "batch_size=4", "steps=6", "warmup=1", "measure=quick")
# Soon at its first block, and long before its last.
LONG = (
    *(*SHALLOW["vit_tiny"], "precision=fp32", "batch_size=4", "steps=30000", "warmup=1"),
    *("measure.blocks=300", "measure.warmup_steps=5", "measure.warmup_max_steps=20"),
)


def environment(cache: Path, devices: int) -> dict[str, str]:
    own = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "PJRT_NPROC": "8"}
    return commands.environment(cache) | own


def free_port() -> int:
    import socket

    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def start(cache, directory, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "trainbench", *arguments],
        cwd=directory,
        env=environment(cache, 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def two(cache, directory, *arguments: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """Two processes of one run that warm up, each with one device."""
    meet = (f"distributed.coordinator=127.0.0.1:{free_port()}", "distributed.num_processes=2")
    processes = [
        start(cache, directory, *arguments, *meet, f"distributed.process_id={index}", "hydra.run.dir=out")
        for index in range(2)
    ]
    try:
        assert processes[0].stderr is not None
        for line in processes[0].stderr:
            if "warm-up (" in line:
                break
        time.sleep(1)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_two_processes_with_two_devices_each_train_as_one_with_four(cache, tmp_path):
    launch = [sys.executable, str(LAUNCHER), "-n", "2", "--devices-per-process", "2", "--"]
    together = subprocess.run(
        [*launch, *SMALL, "hydra.run.dir=two", "trace=2"],
        cwd=tmp_path,
        env=environment(cache, 1),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert together.returncode == 0, together.stderr
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.startswith("two/") for path in left), left
    alone = commands.run(cache, tmp_path, *SMALL, "hydra.run.dir=one", **environment(cache, 4))
    assert alone.returncode == 0, alone.stderr
    one, both = result_of(tmp_path / "one"), result_of(tmp_path / "two")
    steps = min(len(one["loss"]["curve"]), len(both["loss"]["curve"]))
    assert steps > 6
    ours, theirs = (np.array(result["loss"]["curve"][:steps]) for result in (one, both))
    np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
    np.testing.assert_allclose(ours[:, 1], theirs[:, 1], rtol=1e-5)
    for result, processes in ((one, 1), (both, 2)):
        assert result["hardware"]["device_count"] == 4
        assert result["hardware"]["process_count"] == processes
        assert result["workload"]["global_batch_size"] == 16
        median = result["timing"]["step_time_s"]["median"]
        assert result["throughput"]["samples_per_s"] == pytest.approx(16 / median)
    assert one["processes"] == []
    assert [process["devices"] for process in both["processes"]] == [2, 2]
    assert all(process["step_time_s"] > 0 for process in both["processes"])
    assert both["trace"]["steps"] == 2
    assert both["autos"]["timeout_s"]["value"] == 300
    assert len(re.findall("^throughput ", together.stdout, re.MULTILINE)) == 1
    assert "processes    2 on 1 host" in together.stdout
    assert "Gloo" not in together.stdout + together.stderr


def test_a_killed_process_is_named_by_the_other(cache, tmp_path):
    with two(cache, tmp_path, *LONG, "timeout_s=20") as (first, second):
        second.kill()
        output, errors = first.communicate(timeout=60)
    assert first.returncode == 1, errors
    record = result_of(tmp_path / "out")
    assert record["status"] == "failed"
    assert re.search(r"process 1 \(.*\), last heard of .*, is gone", record["status_reason"])
    assert "FAILED: process 1" in output
    assert "stack trace" not in errors


@pytest.mark.slow
def test_without_process_0_the_other_says_so_and_leaves_nothing(cache, tmp_path):
    with two(cache, tmp_path, *LONG, "timeout_s=20") as (first, second):
        first.kill()
        output, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert output == ""
    assert re.fullmatch(r"process 1 \(.*\): failed: process 0 \(.*\), last heard of .*, is gone\n", errors)
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_process_that_hangs_is_found_by_the_watchdog(cache, tmp_path, stopped):
    with two(cache, tmp_path, *LONG, "timeout_s=4") as processes:
        processes[stopped].send_signal(signal.SIGSTOP)
        output, errors = processes[1 - stopped].communicate(timeout=60)
    assert processes[1 - stopped].returncode == 1
    said = rf"process {stopped} \(.*\), last heard of at step \d+ \(\d+ finished\), has been silent for 4 s"
    assert re.search(said, output + errors)
    if stopped:
        assert result_of(tmp_path / "out")["status"] == "failed"


@pytest.mark.parametrize("asked", [pytest.param((0, 1), marks=pytest.mark.slow), (1,)])
def test_one_that_is_asked_to_stop_stops_with_all_others_between_two_blocks(cache, tmp_path, asked):
    with two(cache, tmp_path, *LONG) as processes:
        assert processes[0].stderr is not None
        for line in processes[0].stderr:
            if "measuring block" in line:
                break
        for index in asked:
            processes[index].terminate()
        _, errors = processes[0].communicate(timeout=100)
        _, others = processes[1].communicate(timeout=100)
    assert [process.returncode for process in processes] == [130, 130], errors + others
    record = result_of(tmp_path / "out")
    assert record["status"] == "interrupted"
    timing = record["timing"]
    assert timing["timed_steps"] == len(timing["block_s"]) * timing["steps_per_block"] > 0
    assert "process 1 (" in others
    assert len(record["processes"]) == 2


def test_a_coordinator_that_cannot_be_reached_is_given_up_in_time(cache, tmp_path):
    port = free_port()
    process = start(
        *(cache, tmp_path, *SMALL, "timeout_s=1", f"distributed.coordinator=127.0.0.1:{port}"),
        *("distributed.num_processes=2", "distributed.process_id=1"),
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output == ""
    assert f"distributed.coordinator=127.0.0.1:{port} could not be reached in 1 s" in errors
    assert len(errors.splitlines()) == 3
    assert list(tmp_path.iterdir()) == []


def test_processes_that_never_come_are_counted(cache, tmp_path):
    process = start(
        *(cache, tmp_path, *SMALL, "timeout_s=4", f"distributed.coordinator=127.0.0.1:{free_port()}"),
        *("distributed.num_processes=3", "distributed.process_id=0"),
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "have not come together in 4 s: 1 of 3 came; missing:" in errors
    assert len(errors.splitlines()) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_id_that_is_taken_twice_is_said(cache, tmp_path):
    meet = (f"distributed.coordinator=127.0.0.1:{free_port()}", "distributed.num_processes=3", "timeout_s=15")
    processes = [start(cache, tmp_path, *SMALL, *meet, f"distributed.process_id={i}") for i in (0, 1, 1)]
    errors = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2, 2]
    assert any("another process has come with this one's distributed.process_id" in text for text in errors)
    assert "2 of 3 came; missing: 2" in errors[0]


def test_a_mistake_ends_all_processes_and_leaves_no_directory(cache, tmp_path):
    meet = (f"distributed.coordinator=127.0.0.1:{free_port()}", "distributed.num_processes=2")
    processes = [
        start(cache, tmp_path, *meet, f"distributed.process_id={index}", "model=vit_tiny", "batch_size=no")
        for index in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], errors
    assert "batch_size" in errors[0]
    assert errors[1].startswith("trainbench: process 1 (")
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.slow
def test_two_processes_that_save_are_stopped_and_go_on_with_the_same_command(cache, tmp_path):
    asked = (
        *(*SHALLOW["vit_tiny"], "precision=fp32", "batch_size=4", "steps=300", "warmup=1"),
        *("measure.blocks=30", "measure.warmup_steps=5", "measure.warmup_max_steps=20"),
        *("parallel=fsdp", "checkpoint.every=100", "checkpoint.dir=ck"),
    )
    with two(cache, tmp_path, *asked) as processes:
        assert processes[0].stderr is not None
        for line in processes[0].stderr:
            if "measuring block" in line:
                break
        processes[1].terminate()
        ended = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [130, 130], ended
    first = result_of(tmp_path / "out")
    assert first["status"] == "interrupted"
    before = len(first["timing"]["block_s"])
    assert before > 0
    (saved,) = re.findall(r"the same command goes on from optimizer step (\d+)", first["status_reason"])

    with two(cache, tmp_path, *asked) as processes:
        ended = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    both = result_of(tmp_path / "out")
    assert both["timing"]["block_s"][:before] == first["timing"]["block_s"]
    assert [(one["blocks"], one["ended"], one["process_count"]) for one in both["segments"]] == [
        (before, "interrupted", 2),
        (len(both["timing"]["block_s"]) - before, "ok", 2),
    ]
    assert both["checkpoint"]["restored_step"] == int(saved)
    assert both["checkpoint"]["save_s"] > 0
    assert all(process["step_time_s"] > 0 for process in both["processes"])
