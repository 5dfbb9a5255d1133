"""The compilers for TPUs and GPUs: whether they are there, and what they are told.

Both may be installed beside each other: JAX loads the one that a target is compiled with.
"""

import importlib.util
import os
from importlib import metadata

from trainbench import extras
from trainbench.errors import UserError
from trainbench.forecast.compiler import gpu_devices
from trainbench.forecast.targets import ONE_CHIP, Target
from trainbench.hardware import machine

CUDA_PLUGIN = "jax_plugins.xla_cuda13"
# By platform, for the process that compiles. JAX would else start on a device of this machine's own. libtpu
# would look for TPUs here: it asks Google Cloud's metadata server for them, and aborts where another process
# has loaded it.
ENVIRONMENT = {
    "tpu": {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"},
    "gpu": {"JAX_PLATFORMS": "cpu"},
}
# What decides what a compiler makes of a program, besides JAX's own flags.
PACKAGES = {
    "cpu": ("jax", "jaxlib"),
    "tpu": ("jax", "jaxlib", "libtpu"),
    "gpu": ("jax", "jaxlib", "jax-cuda13-plugin", gpu_devices.CUDNN),
}
# The compiler for CUDA writes its estimate of each fusion's time into the program only if it is asked to. A
# second model, "sol", is left out: it looks products up in tables measured on a few GPUs, and where there is
# none, as for the A100, jaxlib 0.10.2 gives up the whole compilation ("Cannot find key: sm_80").
# On a GPU, XLA tries cuBLAS and Triton kernels of many tile sizes for each product and keeps the fastest.
# Here it can try nothing, and would take Triton with one tile size for all, which is slow, and for some
# shapes an error ("Couldn't find output tile sizes", ViT's 65 tokens). So products go to cuBLAS.
OPTIONS: dict[str, dict[str, str | bool]] = {
    "tpu": {},
    "gpu": {
        "xla_gpu_collect_cost_model_stats": True,
        "xla_disable_hlo_passes": "sol-gpu-cost-model-stats-collection",
        "xla_gpu_enable_triton_gemm": False,
    },
}
# What the user reads while one works.
NAMES = {"tpu": "the TPU compiler", "gpu": "XLA's compiler for CUDA"}
# The first generation that CUDA 13 compiles for: its release notes, "Deprecated Architectures",
# https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ (2026-11).
FIRST_OF_CUDA_13 = "7.5"


def missing(target: Target) -> UserError | None:
    """None if this machine can compile for the target; else why it can't, and what to do about it."""
    if target.platform == "tpu":
        return None if _installed("libtpu") else _no_libtpu()
    if target.platform == "gpu":
        return _never(target) or (None if _installed(CUDA_PLUGIN) else _no_cuda())
    return UserError(
        f"target={target.name} is not compiled for",
        allowed=f"TPUs: {', '.join(ONE_CHIP)} and their slices; GPUs: {_gpu_names()}",
        fix="target=v6e-1",
    )


def versions(target: Target) -> dict[str, str | None]:
    """Of all that decides what the target's compiler makes of a program; None for what is absent."""
    found: dict[str, str | None] = {package: _version(package) for package in PACKAGES[target.platform]}
    return {**found, "xla_flags": machine.compiler_flags(os.environ)}


def _never(target: Target) -> UserError | None:
    """Why the compiler for CUDA is of no use for this GPU; None where it is."""
    capability = gpu_devices.too_old(target.chip)
    if capability:
        why = f"has compute capability {capability}; CUDA 13 compiles for {FIRST_OF_CUDA_13} and later"
    elif gpu_devices.find(target.chip) is None:
        why = "cannot be compiled for: no source tells all that XLA's compiler for CUDA needs to know of it"
    else:
        return None
    return UserError(
        f"target={target.name} {why}",
        allowed=f"of GPUs: {_gpu_names()}",
        fix="none for this GPU: the bound is all there is; target=a100-1 can be compiled for",
    )


def _gpu_names() -> str:
    return ", ".join(gpu_devices.known())


def _no_libtpu() -> UserError:
    return UserError(
        "forecasts for TPUs need libtpu, the TPU compiler, which is not installed",
        allowed="libtpu from the package index; no TPU is needed",
        fix=_install("forecast"),
    )


def _no_cuda() -> UserError:
    return UserError(
        "forecasts for GPUs need JAX's plug-in for CUDA 13, which is not installed",
        allowed="the plug-in with CUDA's libraries from the package index, some 4 GB; no GPU is needed",
        fix=_install("forecast-gpu"),
    )


def _install(extra: str) -> str:
    return f"pip install -e '.[{extra}]' (in the checkout), or {extras.install(extra)}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        # The package that the module would be in.
        return False
