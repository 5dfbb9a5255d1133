"""The README's main command as it stands, which takes minutes on a CPU: `make test-slow`."""

import json
import os
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow


def test_the_default_command_ends_in_time_and_compiles_once(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["TRAINBENCH_CACHE"] = str(tmp_path / "cache")
    for attempt, limit_s in (("cold", 240), ("warm", 120)):
        started = time.monotonic()
        command = [sys.executable, "-m", "trainbench", "model=resnet50", "precision=bf16"]
        command += [f"hydra.run.dir={tmp_path / attempt}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * limit_s)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - started < limit_s
        record = json.loads((tmp_path / attempt / "result.json").read_text())
        assert record["status"] == "ok"
        assert record["compile"]["cache"] == {"cold": "miss", "warm": "hit"}[attempt]
        assert record["comparisons"]
