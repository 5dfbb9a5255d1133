import io
import os
import subprocess
import sys
import types

import pytest

from trainbench.tuning import possible


def test_a_process_of_its_own_says_what_this_device_can_do_and_why_not_the_rest():
    found = possible.ask(["model=vit_tiny", "steps=10", "batch_size=6"])
    assert (found.platform, found.batch_size) == ("cpu", 6)
    assert found.choices["remat"].possible == ("none", "dots", "full")
    assert found.choices["compiler_flags"].default == "none"
    assert "platform tpu, not cpu" in found.choices["compiler_flags"].refused["vmem"]
    assert "multiple of steps_per_call=4" in found.choices["steps_per_call"].refused["4"]
    assert found.choices["gradient_accumulation"].possible == (1, 2)


def test_a_request_that_cannot_be_met_ends_with_its_screen():
    command = [sys.executable, "-m", "trainbench.tuning.possible", "model=vit_tiny", "precision=tf32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 2
    assert "trainbench: precision=tf32" in done.stderr
    assert done.stdout == ""


def test_the_parent_passes_the_exit_code_on(monkeypatch):
    monkeypatch.setattr(possible.child, "start", lambda *_, **__: types.SimpleNamespace(stdout=io.BytesIO()))
    monkeypatch.setattr(possible.child, "wait", lambda process: 130)
    with pytest.raises(possible.Refused) as refused:
        possible.ask([])
    assert refused.value.code == 130
