import copy
import re
from typing import Any

import pytest
import yaml

from tests.building import request
from tests.launch import jobset
from tests.launch.recipes import CHECKOUT, LAUNCH

MANIFESTS = ("gke-tpu.yaml", "gke-gpu.yaml")


def manifest(name: str) -> dict[str, Any]:
    (loaded,) = yaml.safe_load_all((LAUNCH / name).read_text())
    assert isinstance(loaded, dict)
    return loaded


def job_of(loaded: dict[str, Any]) -> dict[str, Any]:
    (group,) = loaded["spec"]["replicatedJobs"]
    spec = group["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container_of(loaded: dict[str, Any]) -> dict[str, Any]:
    (container,) = job_of(loaded)["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_valid_and_its_parts_agree(name):
    assert jobset.problems(manifest(name)) == []


def _misspelt_field(loaded):
    job_of(loaded)["template"]["spec"]["nodeSelectors"] = {}


def _misspelt_field_of_the_set(loaded):
    loaded["spec"]["failurePolicy"]["maxRestart"] = 3


def _fewer_pods_at_once(loaded):
    job_of(loaded)["parallelism"] = 1


def _more_hosts_in_one_place(loaded):
    job_of(loaded).update(completions=8, parallelism=8)


def _another_name(loaded):
    loaded["metadata"]["name"] = "mine"


def _another_subdomain(loaded):
    loaded["spec"]["network"]["subdomain"] = "elsewhere"


def _pods_without_numbers(loaded):
    job_of(loaded)["completionMode"] = "NonIndexed"


def _pods_that_come_back_alone(loaded):
    job_of(loaded)["backoffLimit"] = 3


def _policy_of_another_container(loaded):
    container_of(loaded)["name"] = "main"


def _results_in_the_container(loaded):
    container_of(loaded)["workingDir"] = "/tmp"


def _unmounted_volume(loaded):
    container_of(loaded)["volumeMounts"].pop()


def _every_pod_is_process_0(loaded):
    args = container_of(loaded)["args"]
    container_of(loaded)["args"] = [text.replace("$(JOB_COMPLETION_INDEX)", "0") for text in args]


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize(
    "mistake",
    [
        _misspelt_field,
        _misspelt_field_of_the_set,
        _fewer_pods_at_once,
        _more_hosts_in_one_place,
        _another_name,
        _another_subdomain,
        _pods_without_numbers,
        _pods_that_come_back_alone,
        _policy_of_another_container,
        _results_in_the_container,
        _unmounted_volume,
        _every_pod_is_process_0,
    ],
)
def test_the_checks_of_a_manifest_find_a_mistake(name, mistake):
    wrong = copy.deepcopy(manifest(name))
    mistake(wrong)
    assert jobset.problems(wrong)


@pytest.mark.parametrize(
    ("accelerator", "topology", "hosts"),
    [
        ("tpu-v6e-slice", "4x4", 4),
        ("tpu-v6e-slice", "8x8", 16),
        ("tpu-v5-lite-podslice", "4x8", 8),
        ("tpu-v5p-slice", "2x2x2", 2),
        ("tpu-v4-podslice", "2x2x4", 4),
    ],
)
def test_the_rule_for_hosts_in_the_manifest_holds_for_other_slices(accelerator, topology, hosts):
    text = (LAUNCH / "gke-tpu.yaml").read_text()
    text = text.replace("tpu-v6e-slice", accelerator).replace(
        "gke-tpu-topology: 4x4", f"gke-tpu-topology: {topology}"
    )
    text = re.sub(r"4(?=  # fill in: hosts)", str(hosts), text)
    assert jobset.problems(yaml.safe_load(text)) == []


@pytest.mark.parametrize("name", MANIFESTS)
def test_too_little_memory_ends_the_job_and_anything_else_starts_it_again(name):
    loaded = manifest(name)
    (rule,) = job_of(loaded)["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"containerName": "trainbench", "operator": "In", "values": [3]}
    policy = loaded["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    assert [(rule["action"], rule["onJobFailureReasons"]) for rule in policy["rules"]] == [
        ("FailJobSet", ["PodFailurePolicy"])
    ]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_run_that_is_started_again_finds_its_checkpoint(name):
    loaded = manifest(name)
    arguments = [text.replace("$(JOB_COMPLETION_INDEX)", "0") for text in container_of(loaded)["args"]]
    checkpoint = request(*arguments).checkpoint
    assert checkpoint.every is not None
    assert checkpoint.dir is None, "below the working directory, which is on the shared volume"
    assert job_of(loaded)["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
    assert loaded["spec"]["failurePolicy"]["restartStrategy"] == "BlockingRecreate", "one writer at a time"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("gke-tpu.yaml", ["cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"]),
        ("gke-gpu.yaml", ["cloud.google.com/gke-accelerator", "nvidia.com/gpu"]),
    ],
)
def test_what_has_to_be_filled_in_is_marked(name, own):
    marked = re.findall(r"^ *(?:- )?([^\s:#=]+)[:=].*fill in", (LAUNCH / name).read_text(), re.MULTILINE)
    common = [
        "completions",
        "parallelism",
        "image",
        "distributed.num_processes",
        "checkpoint.every",
        "claimName",
    ]
    assert sorted(marked) == sorted([*own, *common])


def dockerfile() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (LAUNCH / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def test_the_image_is_made_of_files_that_the_checkout_has():
    sources = [
        word for instruction, rest in dockerfile() if instruction == "COPY" for word in rest.split()[:-1]
    ]
    assert sources
    assert [name for name in sources if not (CHECKOUT / name).exists()] == []


def test_the_image_starts_trainbench_without_a_shell_that_would_keep_the_signal():
    assert dict(dockerfile())["ENTRYPOINT"] == '["python", "-m", "trainbench"]'


@pytest.mark.parametrize(("name", "extra"), [("gke-tpu.yaml", "tpu"), ("gke-gpu.yaml", "cuda")])
def test_the_image_of_a_manifest_is_one_that_the_dockerfile_builds(name, extra):
    assert container_of(manifest(name))["image"].endswith(f"/trainbench:{extra}")
    assert f"{extra} = [" in (CHECKOUT / "pyproject.toml").read_text()
    assert (
        container_of(manifest(name))["workingDir"]
        == [rest for instruction, rest in dockerfile() if instruction == "WORKDIR"][-1]
    )
