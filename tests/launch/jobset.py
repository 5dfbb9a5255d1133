"""What has to hold in a JobSet manifest of ours, beside its being valid Kubernetes.

Field by field the JobSet is held against this schema, after its definition (CRD) of version 0.9.1, and the
Jobs in it against Kubernetes' own.
"""

import math
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate

from tests.building import request
from trainbench.errors import UserError
from trainbench.forecast import targets

KUBERNETES = "1.31.0"
PORT = 8476

# GKE's names of TPUs, from its page "Plan TPUs".
TPUS = {
    "tpu-v4-podslice": "v4",
    "tpu-v5-lite-podslice": "v5e",
    "tpu-v5p-slice": "v5p",
    "tpu-v6e-slice": "v6e",
    "tpu7x": "tpu7x",
}
TPU, GPU = "google.com/tpu", "nvidia.com/gpu"
_ACCELERATOR, _TOPOLOGY = "cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT, _COUNT, _FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_RULE = _object(
    ("name", "action"),
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    targetReplicatedJobs={"type": "array", "items": _TEXT},
    onJobFailureReasons={
        "type": "array",
        "items": {"enum": ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"]},
    },
)
SCHEMA = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=_object(
        ("name",), name={"type": "string", "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$"}, annotations=_TEXTS
    ),
    spec=_object(
        ("network", "failurePolicy", "replicatedJobs"),
        network=_object(enableDNSHostnames=_FLAG, subdomain=_TEXT, publishNotReadyAddresses=_FLAG),
        failurePolicy=_object(
            maxRestarts=_COUNT,
            restartStrategy={"enum": ["Recreate", "BlockingRecreate"]},
            rules={"type": "array", "items": _RULE},
        ),
        replicatedJobs={
            "type": "array",
            "items": _object(("name", "template"), name=_TEXT, replicas=_COUNT, template={"type": "object"}),
        },
    ),
)


def problems(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with it; nothing, if it can run."""
    found = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(manifest)]
    if found:
        return found
    (group,) = manifest["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, **group["template"]}
    try:
        kubernetes_validate.validate(job, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return [*_of_the_pods(job["spec"]), *_of_the_processes(manifest, group, job["spec"])]


def _of_the_pods(job: dict[str, Any]) -> Iterator[str]:
    """A Job's own rules that no schema has, and what a run of several processes needs of it."""
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    if job.get("completionMode") != "Indexed":
        yield "only an Indexed Job numbers its pods"
    if job.get("backoffLimit") != 0:
        yield "a pod that is replaced by itself cannot join again"
    if pod["restartPolicy"] != "Never":
        yield "podFailurePolicy needs restartPolicy Never"
    if any(
        rule["onExitCodes"]["containerName"] != container["name"] for rule in job["podFailurePolicy"]["rules"]
    ):
        yield "the failure policy is that of another container"
    if mounted != {volume["name"] for volume in pod["volumes"]}:
        yield "mounts and volumes differ"
    if container["workingDir"] not in [mount["mountPath"] for mount in container["volumeMounts"]]:
        yield "results and checkpoints go to a directory that is lost with the pod"
    if "command" in container:
        yield "the image's entry point is replaced"
    yield from _of_the_devices(job, pod, container["resources"]["limits"])


def _of_the_devices(job: dict[str, Any], pod: dict[str, Any], limits: dict[str, int]) -> Iterator[str]:
    if GPU in limits:
        if limits[GPU] > targets.MOST_GPUS_PER_HOST:
            yield f"no node has {limits[GPU]} GPUs"
        return
    chips_per_host = math.prod(targets.CHIPS_PER_HOST)
    where = pod["nodeSelector"]
    try:
        chips = targets.find(f"{TPUS[where[_ACCELERATOR]]}:{where[_TOPOLOGY]}").chips
    except UserError as error:
        yield str(error)
        return
    if limits[TPU] != chips_per_host:
        yield f"a host has {chips_per_host} chips"
    if job["completions"] * chips_per_host != chips:
        yield f"{where[_TOPOLOGY]} is {chips} chips, of {job['completions']} hosts"


def _of_the_processes(manifest: dict[str, Any], group: dict[str, Any], job: dict[str, Any]) -> Iterator[str]:
    """The processes find each other, and what they are told to run is something that trainbench knows."""
    if job["completions"] != job["parallelism"] or group.get("replicas", 1) != 1:
        yield "not all processes run at once"
    (container,) = job["template"]["spec"]["containers"]
    seen = [f"process_id={index}" for index in range(job["completions"])]
    for index, process_id in enumerate(seen):
        arguments = [text.replace("$(JOB_COMPLETION_INDEX)", str(index)) for text in container["args"]]
        if f"distributed.{process_id}" not in arguments:
            yield f"no process is {process_id}"
            return
    distributed = request(*arguments).distributed
    if distributed.num_processes != job["completions"]:
        yield f"{job['completions']} pods make {distributed.num_processes} processes"
    network = manifest["spec"]["network"]
    address = f"{manifest['metadata']['name']}-{group['name']}-0-0.{network['subdomain']}:{PORT}"
    if distributed.coordinator != address:
        yield f"the coordinator is {address}, not {distributed.coordinator}"
    if not network["enableDNSHostnames"] or not network["publishNotReadyAddresses"]:
        yield "pods have no names before all are ready, and are not ready before they know each other's"
    if PORT not in [port["containerPort"] for port in container["ports"]]:
        yield f"port {PORT} is not named"
