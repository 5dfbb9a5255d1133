"""What binds a benchmark's process to the one that started it."""

import io
import os
import signal
import subprocess
import sys

import pytest
from filelock import FileLock

from trainbench.errors import ExitCode, UserError
from trainbench.processes import child

BEGIN = (
    "from trainbench.processes import child; import time; "
    "print('up', flush=True); child.begin(); print('on', flush=True); "
)


def started(program, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        text=True,
    )


def test_a_child_ends_with_its_parent():
    with started("time.sleep(60)", **{child.LIFELINE: "1"}) as process:
        assert process.stdout.readline() == "up\n"
        assert process.stdout.readline() == "on\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=30) == -signal.SIGTERM


def test_a_process_that_nobody_started_does_not_care_for_its_input():
    with started("time.sleep(0.2)") as process:
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_a_child_waits_for_its_lock_and_says_so(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path):
        process = started("", **{child.LOCK: str(path)})
        assert "waiting for the run that is still going on here" in process.stderr.readline()
        assert process.poll() is None
    with process:
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == "up\non\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_child_that_dies_of_a_signal_was_interrupted(number):
    process = started("time.sleep(60)")
    process.stdout.readline()
    process.send_signal(number)
    with process:
        assert child.wait(process) in (ExitCode.INTERRUPTED, 1)
        assert process.returncode in (-number, 1)


def test_a_child_that_hangs_is_killed_at_the_third_wish(capsys):
    class Hanging:
        stdin = io.BytesIO()
        killed = False
        waits = 0

        def wait(self):
            self.waits += 1
            if self.killed:
                return -signal.SIGKILL
            assert self.waits <= child.WISHES_TO_KILL
            raise KeyboardInterrupt

        def kill(self):
            self.killed = True

    process = Hanging()
    assert child.wait(process) == ExitCode.INTERRUPTED
    assert process.killed
    assert process.waits == 1 + child.WISHES_TO_KILL
    assert "once more kills it" in capsys.readouterr().err


def test_what_a_child_is_told_does_not_reach_its_own_children(monkeypatch):
    monkeypatch.setenv(child.LIFELINE, "1")
    monkeypatch.setenv(child.LOCK, "somewhere")
    seen = {}

    def popen(command, *, env, **rest):
        seen.update(env)

    monkeypatch.setattr(subprocess, "Popen", popen)
    child.start(["model=vit_tiny"], subprocess.PIPE)
    assert child.LOCK not in seen
    assert seen[child.LIFELINE] == "1"


def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        child.run(["model=vit_tiny"], tmp_path / "file" / "below")


@pytest.mark.parametrize("text", ["plain", "a b", "a,b", "it's", "back\\slash", "x=[1]", "${now:}", "ü"])
def test_quoting_keeps_a_path_as_it_is(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"hydra.run.dir={child.quoted(text)}"])
    assert str(override.value()) == text
