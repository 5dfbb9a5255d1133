"""Whether a process is one of several."""

import importlib.util

import pytest

from tests.building import tree
from trainbench.distributed.settings import DistributedConfig
from trainbench.distributed.start import LIMIT_S, _limit_s, check_alone, check_typed, joined
from trainbench.distributed.surroundings import Meeting, count_tpu_workers, meeting
from trainbench.errors import UserError

SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
SBATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}


@pytest.mark.parametrize(
    ("environment", "cluster"),
    [
        ({}, None),
        (SRUN, "slurm"),
        (SBATCH, None),
        (SRUN | {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, None),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, None),  # the shell of salloc, as a step of its own
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "ompi"),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "tpu"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, "tpu"),
        ({"TPU_PROCESS_ADDRESSES": "a:1,b:1,c:1"}, "tpu"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
    ],
)
def test_the_environment_tells_whether_there_are_several(environment, cluster):
    place = meeting(DistributedConfig(), environment)
    assert (place.cluster if place else None) == cluster
    assert meeting(DistributedConfig(cluster="none"), environment) is None


def test_an_indexed_job_of_kubernetes_needs_the_package_that_asks_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Kubernetes") as caught:
        meeting(DistributedConfig(), POD)
    assert "pip install kubernetes" in caught.value.fix
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert meeting(DistributedConfig(), POD) == Meeting("k8s")


def test_a_cluster_that_is_named_is_asked_whatever_the_environment():
    assert meeting(DistributedConfig(cluster="slurm"), {}).method == "slurm"
    assert meeting(DistributedConfig(cluster="tpu"), {}).method is None, "JAX has two kinds of it"


def test_tpu_hosts_are_counted_over_all_slices():
    assert count_tpu_workers({"TPU_WORKER_HOSTNAMES": "a,b", "MEGASCALE_NUM_SLICES": "4"}) == 8
    assert count_tpu_workers({}) == 1


def test_processes_given_by_hand_look_nowhere_else():
    asked = DistributedConfig(coordinator="node1:1234", num_processes=2, process_id=1)
    place = meeting(asked, SRUN)
    assert place == Meeting(None, "node1:1234", 2, 1)
    assert place.method == "deactivate"


def test_one_process_given_by_hand_is_alone():
    assert meeting(DistributedConfig(coordinator="node1:1234", num_processes=1, process_id=0), {}) is None


@pytest.mark.parametrize(
    ("overrides", "problem", "fix"),
    [
        (
            ["distributed.process_id=1"],
            "without distributed.coordinator, distributed.num_processes",
            "HOST:PORT",
        ),
        (
            ["distributed.coordinator=a:1", "distributed.num_processes=2", "distributed.process_id=2"],
            "distributed.process_id=2 is none of distributed.num_processes=2",
            "distributed.process_id=1",
        ),
        (["distributed.cluster=sge"], "distributed.cluster", ""),
        (["distributed.coordinator=nowhere"], "distributed.coordinator", ""),
    ],
)
def test_what_is_wrong_with_the_processes_is_said_before_anything_starts(overrides, problem, fix):
    with pytest.raises(UserError, match=problem) as caught:
        joined(overrides, {})
    assert fix in caught.value.fix


def test_what_hydra_will_complain_of_is_left_to_it():
    assert joined(["model=", "nonsense", "distributed.x=1", "steps=1,2"], {}) is None


def test_sweeps_and_searches_are_refused_in_several_processes():
    check_alone("a sweep", ["batch_size=1,2"], {})
    with pytest.raises(UserError, match="a sweep starts a process for each") as caught:
        check_alone("a sweep", ["batch_size=1,2"], SRUN)
    assert "one after the other" in caught.value.fix


def test_what_a_file_says_of_the_processes_is_refused_as_it_comes_too_late():
    typed = ("distributed.num_processes=2", "distributed.process_id=0", "distributed.coordinator=a:1")
    check_typed(tree(), ())
    check_typed(tree(*typed), typed)
    with pytest.raises(UserError, match=r"distributed.process_id=0 stands in a file") as error:
        check_typed(tree(*typed), typed[:1])
    assert "distributed.coordinator=a:1" in error.value.fix


@pytest.mark.parametrize(
    ("override", "limit_s"),
    [
        ("timeout_s=7.6", 8),
        ("timeout_s=null", LIMIT_S),
        ("timeout_s=inf", LIMIT_S),
        ("timeout_s=nan", LIMIT_S),
    ],
)
def test_processes_wait_for_each_other_as_long_as_is_asked(override, limit_s):
    assert _limit_s([override]) == limit_s
