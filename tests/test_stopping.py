"""Ctrl-C and termination, in processes of their own: what was measured is kept."""

import signal
import time

import pytest

from tests.commands import result_of, running_until

# Soon at its first block, however noisy the machine, and long before its last.
MEASURING = [
    *("model=resnet_tiny", "batch_size=8", "steps=3000", "warmup=1"),
    *("measure.warmup_steps=5", "measure.warmup_max_steps=20"),
]


@pytest.mark.parametrize(
    ("arguments", "when"),
    [
        (["model=resnet101", "image_size=160"], "compiling"),
        (["model=resnet_tiny", "batch_size=8", "steps=100000", "warmup=1"], "warm-up"),
        (MEASURING, "measuring block"),
    ],
)
def test_ctrl_c_saves_what_there_is(cache, tmp_path, arguments, when):
    with running_until(when, arguments, cache, tmp_path) as process:
        time.sleep(0.5)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert time.monotonic() - asked < 30
    assert process.returncode == 130, errors
    record = result_of(tmp_path / "out")
    assert record["status"] == "interrupted"
    assert "INTERRUPTED" in output
    assert (record["throughput"] is not None) == (when == "measuring block"), "whole blocks are kept"
    assert "Traceback" not in errors


def test_ctrl_c_keeps_the_ways_of_feeding_that_were_measured(cache, tmp_path):
    arguments = ["model=resnet_tiny", "data=digits", "batch_size=8", "input=all", "steps=100", "warmup=1"]
    with running_until("warm-up (real input)", arguments, cache, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    record = result_of(tmp_path / "out")
    assert record["status"] == "interrupted"
    assert {"resident", "host"} <= set(record["input"]["rates"])
    assert "by input" in output
    assert "Traceback" not in errors


def test_termination_saves_what_there_is_like_ctrl_c(cache, tmp_path):
    with running_until("measuring block", MEASURING, cache, tmp_path) as process:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors + (tmp_path / "out/result.json").read_text()
    assert result_of(tmp_path / "out")["throughput"] is not None
