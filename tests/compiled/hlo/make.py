"""Make the sample programs of this directory anew: compile, trim, write beside what XLA says of each.

    python -m tests.compiled.hlo.make [name ...]

It needs the extras `forecast` and `forecast-gpu`, about half a minute for each, and no accelerator. Trimmed
are tables of source lines, argument lists, shardings, and of the back ends' remarks all but the estimates of
time and what cuBLAS is called for; programs are cut to one or two layers. What is left is the compiler's own
text.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

# Before JAX is imported: no TPU here to ask, and other processes may compile too.
os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from tests import building
from trainbench import autos, placement, workload
from trainbench.forecast import targets
from trainbench.forecast.compiler import compilers
from trainbench.forecast.compiler import topology as target_topology
from trainbench.training import compile as aot
from trainbench.training.device import Devices

HERE = Path(__file__).parent
ONE_CHIP = {"chips_per_host_bounds": (1, 1, 1)}
MEGACORE = {**ONE_CHIP, "chip_config_name": "megacore"}
# name: (topology, its options, batch size per device, overrides); without overrides a product of matrices.
SMALL_VIT = ("model=vit_tiny", "model.architecture.depth=1")
SMALL_RESNET = ("model=resnet_tiny", "model.architecture.depths=[1]")
SAMPLES = {
    "matmul_v3": ("v3:1x1x1", ONE_CHIP, 0, ()),
    "matmul_v6e": ("v6e:1x1x1", ONE_CHIP, 0, ()),
    "resnet_v6e_loop": ("v6e:1x1x1", ONE_CHIP, 8, (*SMALL_RESNET, "gradient_accumulation=2")),
    "resnet_v6e_4_chips": ("v6e:2x2", {}, 8, SMALL_RESNET),
    "vit_v4": ("v4:1x1x1", MEGACORE, 8, SMALL_VIT),
    "resnet_v3": ("v3:1x1x1", ONE_CHIP, 8, SMALL_RESNET),
    "resnet_v5e": ("v5e:1x1x1", ONE_CHIP, 8, SMALL_RESNET),
}
# name: (target, batch size per device, overrides)
SMALL_BERT = (
    "model=bert_tiny",
    "model.architecture.depth=1",
    "model.architecture.dropout_rate=0",
    "sequence_length=128",
)
GPU_SAMPLES = {
    "resnet_a100": ("a100-1", 8, SMALL_RESNET),
    "resnet_h100": ("h100-1", 8, SMALL_RESNET),
    "bert_a100": ("a100-1", 8, SMALL_BERT),
    "bert_h100_loop": ("h100-1", 8, (*SMALL_BERT, "gradient_accumulation=2")),
    "resnet_a100_4_gpus": ("a100-4", 8, SMALL_RESNET),
}
MATRIX = 8192

_KEPT_HEADER = re.compile(r"is_scheduled=true|num_partitions=\d+|replica_count=\d+")
_DROPPED = re.compile(
    r", (?:sharding|frontend_attributes|operand_layout_constraints|used_scoped_memory_configs)="
    r'\{(?:[^{}"]|"[^"]*"|\{(?:[^{}"]|"[^"]*")*\})*\}'
)
_METADATA = re.compile(r', metadata=\{(?P<name>op_name="(?:[^"\\]|\\.)*")?[^}]*\}')
_CYCLES = re.compile(r'"estimated_cycles":"-?\d+"')
_SIGNATURE = re.compile(r"^((?:ENTRY )?%\S+) \(.*\{$")
# How arrays lie within a fused operation, where that decides nothing.
_INNER = re.compile(r"(^  %\S+ = \w+\[[^\]]*\])\{\S*\} (?!fusion|convolution|slice|dynamic|gather)")
_LOOP_BODY = re.compile(r"\bbody=%([^,\s]+)")


def compiled(name: str) -> tuple[aot.Executable, int]:
    """The sample's executable and the number of its devices."""
    if name in GPU_SAMPLES:
        target, batch_size, overrides = GPU_SAMPLES[name]
        devices = target_topology.devices(targets.find(target)).handles
        return _compiled_step(devices, batch_size, overrides, compilers.OPTIONS["gpu"]), len(devices)
    topology, options, batch_size, overrides = SAMPLES[name]
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices
    if not overrides:
        on_one = jax.sharding.SingleDeviceSharding(devices[0])
        matrix = jax.ShapeDtypeStruct((MATRIX, MATRIX), jnp.bfloat16, sharding=on_one)
        return aot.compile_lowered(aot.lower_function(jnp.matmul, matrix, matrix)), 1
    return _compiled_step(devices, batch_size, overrides, {}), len(devices)


def _compiled_step(devices: Any, batch_size: int, overrides: Any, options: Any) -> aot.Executable:
    request = building.request(*overrides, f"batch_size={batch_size}", "precision=bf16", "optimizer=sgd")
    task, shown = workload.make_task(request), Devices(tuple(devices), devices[0].platform, "", None)
    settled = autos.resolve(request, task, shown.platform, shown.count, lambda options: True, use_all=True)
    placed = placement.place(workload.build(settled, task), settled, shown)
    return aot.compile_lowered(placed.lower(_silent), options)


def _silent(phase: str) -> None:
    del phase


def trim(text: str) -> str:
    """The program without what the time model never reads."""
    first, *lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("{") and line[0] in "%E")
    bodies = set(_LOOP_BODY.findall(text))
    kept, named = [", ".join([first.split(",")[0], *_KEPT_HEADER.findall(first)]), ""], False
    for line in lines[start:]:
        if line.endswith("{") and line[0] in "%E":
            named = line.startswith("ENTRY") or line.split()[0].lstrip("%") in bodies
        kept.append(_trim_line(line, named))
    return "\n".join(kept) + "\n"


def _trim_line(line: str, named: bool) -> str:
    """One line; where operations come from is kept only of those that are `named` in a schedule."""
    before, marker, after = line.partition(", backend_config=")
    metadata = _METADATA.search(before)
    name = f", metadata={{{metadata['name']}}}" if metadata and metadata["name"] and named else ""
    cycles = _CYCLES.search(after)
    remark = f'{marker}{{"window_config":{{{cycles[0]}}}}}' if cycles else _remark_of_a_gpu(marker, after)
    bare = _METADATA.sub("", _DROPPED.sub("", before))
    if not named:
        bare = _INNER.sub(r"\1 ", bare)
    return _SIGNATURE.sub(r"\1 (...) -> ... {", bare + name + remark)


def _remark_of_a_gpu(marker: str, after: str) -> str:
    """What is read of a remark of the compiler for GPUs."""
    try:
        config = json.JSONDecoder().raw_decode(after)[0]
    except ValueError:
        return ""
    kept = {key: config[key] for key in ("known_trip_count",) if key in config}
    said = {cost.get("name", ""): cost["exec_time_us"] for cost in config.get("reification_cost", ())}
    if said:
        kept["reification_cost"] = [{"name": name, "exec_time_us": time} for name, time in said.items()]
    call = config.get("gemm_backend_config")
    if call:
        dims = {"lhs_contracting_dimensions": call["dot_dimension_numbers"]["lhs_contracting_dimensions"]}
        precision = {"operand_precision": call["precision_config"]["operand_precision"]}
        kept["gemm_backend_config"] = {"dot_dimension_numbers": dims, "precision_config": precision}
    return f"{marker}{json.dumps(kept, separators=(',', ':'))}" if kept else ""


def main(names: list[str]) -> None:
    said = HERE / "said_by_xla.json"
    facts = json.loads(said.read_text(encoding="utf-8")) if said.exists() else {}
    for name in names or [*SAMPLES, *GPU_SAMPLES]:
        print(f"compiling {name}", file=sys.stderr)
        executable, devices = compiled(name)
        cost = executable.call.cost_analysis() or {}
        facts[name] = {
            "optimal_seconds": cost.get("optimal_seconds"),
            "flops": cost.get("flops"),
            "traced_flops_per_device": executable.flops.total / devices,
        }
        (HERE / f"{name}.txt").write_text(trim(executable.text()), encoding="utf-8")
        said.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
