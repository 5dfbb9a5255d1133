"""GPUs as XLA's compiler for CUDA is told of them: it compiles for a description, no GPU has to be there.

The facts are in `gpus.yaml` beside this file and in chips.yaml. The description's fields are those of
`GpuTargetConfigProto` in openxla/xla, xla/stream_executor/device_description.proto.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any

import yaml

from trainbench.hardware import chips

# The same for every GPU since compute capability 7.5: the CUDA C++ Programming Guide's table "Technical
# Specifications per Compute Capability".
_OF_ALL = """\
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
"""
# From Hopper on, kernels use instructions that only their own generation has: sm_90a, sm_100a.
_OWN_INSTRUCTIONS = 9
CUDNN, CUDA = "nvidia-cudnn-cu13", "nvidia-cuda-runtime"
# JAX takes this share of a GPU's memory at the start and nothing later:
# https://docs.jax.dev/en/latest/gpu_memory_allocation.html (2026-11).
MEMORY_SHARE = 0.75
SHARE_VARIABLES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
      capability: CUDA's compute capability, such as "9.0".
      multiprocessors: streaming multiprocessors that the product has.
      clock_mhz: the highest clock.
      memory_bytes: what CUDA reports; less than the nominal size where error correction takes a part.
      threads, fp32_units: of a multiprocessor.
      shared_kib: shared memory of a multiprocessor; `block_kib` is what one thread block can have of it.
      sources: of these facts, in full.
    """

    capability: str
    multiprocessors: int
    clock_mhz: int
    l2_bytes: int
    memory_bytes: int
    threads: int
    fp32_units: int
    shared_kib: int
    block_kib: int
    sources: tuple[str, ...]


def find(chip_id: str) -> Gpu | None:
    """The GPU with this id in chips.yaml; None where no source tells all that the compiler needs."""
    block = _table()["gpus"].get(chip_id)
    if block is None:
        return None
    architecture = _table()["architectures"][block["capability"]]
    keys = dict.fromkeys([*architecture["src"].split("+"), *block["src"].split("+")])
    facts = {key: value for key, value in {**architecture, **block}.items() if key != "src"}
    return Gpu(**facts, sources=tuple(_table()["sources"][key] for key in keys))


def too_old(chip_id: str) -> str | None:
    """The compute capability of a GPU that CUDA 13 compiles nothing for; None for others."""
    block = _table()["too_old"].get(chip_id)
    return block["capability"] if block else None


def known() -> tuple[str, ...]:
    """Ids of the GPUs that can be described."""
    return tuple(_table()["gpus"])


def usable_bytes(chip_id: str, environment: Mapping[str, str] = os.environ) -> int:
    """Memory that a JAX process has for its programs on this GPU, which is one of `known`.

    The share is JAX's own, unless the environment sets another, as it would for a run.
    """
    gpu = find(chip_id)
    assert gpu is not None
    shares = [environment[name] for name in SHARE_VARIABLES if environment.get(name)]
    return int(gpu.memory_bytes * (float(shares[0]) if shares else MEMORY_SHARE))


def description(chip_id: str) -> str:
    """The text of a `GpuTargetConfigProto` for one of `known`, with the versions of CUDA and cuDNN here.

    Without that of CUDA the compiler thinks it too old for products of 8-bit floats.
    """
    gpu, chip = find(chip_id), chips.by_id(chip_id)
    assert gpu is not None
    assert chip.memory_bandwidth is not None
    major, minor = gpu.capability.split(".")
    feature = "ACCELERATED_FEATURES" if int(major) >= _OWN_INSTRUCTIONS else "NONE"
    cuda = [*metadata.version(CUDA).split("."), "0", "0"]
    cudnn = [*metadata.version(CUDNN).split("."), "0", "0"]
    name = chip.device_kinds[0] if chip.device_kinds else chip.name
    return f"""\
gpu_device_info {{
{_OF_ALL}  threads_per_core_limit: {gpu.threads}
  fpus_per_core: {gpu.fp32_units}
  shared_memory_per_core: {gpu.shared_kib * 1024}
  shared_memory_per_block_optin: {gpu.block_kib * 1024}
  core_count: {gpu.multiprocessors}
  clock_rate_ghz: {gpu.clock_mhz / 1000}
  l2_cache_size: {gpu.l2_bytes}
  memory_bandwidth: {round(chip.memory_bandwidth)}
  device_memory_size: {gpu.memory_bytes}
  cuda_compute_capability {{ major: {major} minor: {minor} feature_extension: {feature} }}
}}
platform_name: "CUDA"
runtime_version {{ major: {cuda[0]} minor: {cuda[1]} patch: {cuda[2]} }}
dnn_version_info {{ major: {cudnn[0]} minor: {cudnn[1]} patch: {cudnn[2]} }}
device_description_str: "{name}"
"""


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files("trainbench.forecast.compiler").joinpath("gpus.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
