import re

import pytest

from tests.building import request
from tests.launch.recipes import CHECKOUT, TRAINBENCH, overrides_of
from trainbench.processes import sweep_plan

PAGE = (CHECKOUT / "docs" / "launching.md").read_text()
# In blocks, and in tables.
LINES = re.findall(r"^(?:python|sbatch|scripts)\S* .*$", PAGE, re.MULTILINE)
CELLS = re.findall(r"`((?:sbatch|scripts/|mpirun)[^`]*=[^`]*)`", PAGE)


def overrides(command: str) -> list[str]:
    if TRAINBENCH in command:
        return overrides_of(command)
    return re.split(r"slurm\.sbatch |tpu_pod\.sh run ", command)[-1].split()


@pytest.mark.parametrize(
    "command", [line for line in [*LINES, *CELLS] if "=" in line and " -m hydra" not in line]
)
def test_a_command_of_the_page_is_one_that_trainbench_knows(command):
    assert request(*overrides(command))


def test_the_sweep_of_the_page_is_one_that_submitit_s_launcher_knows():
    (command,) = [line for line in LINES if "submitit" in line]
    sweep = sweep_plan.plan(overrides(command)[1:])
    assert sweep.points is not None
    assert len(sweep.points) == 4
    assert not sweep.here


def test_the_keys_for_any_other_scheduler_exist():
    (keys,) = re.findall(r"`(distributed\.coordinator=HOST[^`]*)`", PAGE)
    asked = request(*keys.replace("PORT", "1234").replace("=N", "=2").replace("=I", "=1").split())
    assert asked.distributed.coordinator == "HOST:1234"
    assert (asked.distributed.num_processes, asked.distributed.process_id) == (2, 1)


def test_every_file_that_the_page_links_exists():
    links = [target for target in re.findall(r"\]\(([^)]+)\)", PAGE) if not target.startswith("https:")]
    assert len(links) >= 5
    assert [target for target in links if not (CHECKOUT / "docs" / target).exists()] == []
