"""What only an accelerator can show: `make test-accelerator EXTRAS=cuda`."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.accelerator, pytest.mark.usefixtures("accelerator")]


@pytest.fixture(scope="module")
def accelerator():
    """Skips where there is none; asked in another process, as a TPU can be open in only one."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    backend = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout.strip()
    if backend in ("", "cpu"):
        pytest.skip("JAX finds no GPU or TPU here")


@pytest.mark.parametrize("model", ["resnet50", "vit_s16", "bert_base"])
@pytest.mark.parametrize("input_mode", ["resident", "host"])
def test_a_run_knows_its_chip_and_stays_below_its_limits(model, input_mode, tmp_path):
    command = [sys.executable, "-m", "trainbench", f"model={model}", "batch_size=32", "measure=quick"]
    command += [f"input={input_mode}", f"hydra.run.dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["hardware"]["chip"] is not None
    assert 0 < record["utilization"]["mfu"] < 1
    assert record["utilization"]["hfu"] == pytest.approx(record["utilization"]["mfu"], rel=0.02)
    memory = record["memory"]
    assert 0 < memory["peak_bytes_allocator"] <= memory["limit_bytes"]
    assert record["compile"]["donated"] is True
    assert record["timing"]["compilations_in_window"] == 0
    assert record["timing"]["implicit_transfers_in_window"] == 0
    assert record["timing"]["host_dispatch_s"] < record["timing"]["step_time_s"]["median"] / 2


def test_out_of_memory_is_a_result(tmp_path):
    command = [
        sys.executable,
        "-m",
        "trainbench",
        "model=resnet50",
        "batch_size=20000",
        f"hydra.run.dir={tmp_path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 3, done.stderr
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "oom"
