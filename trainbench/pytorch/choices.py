"""How PyTorch runs the step where the user left it open: each choice with its reason, and what it sets."""

import dataclasses
from typing import Any

import torch
import transformers

from trainbench.autos import Auto
from trainbench.config import Request
from trainbench.models import FAMILIES
from trainbench.pytorch.device import usable_cores
from trainbench.pytorch.settings import EAGER, INDUCTOR, TorchConfig
from trainbench.results import record


def choose(request: Request, platform: str) -> tuple[TorchConfig, dict[str, Auto]]:
    """The settings with nothing left open, and what was chosen.

    Args:
      platform: "cpu" or "gpu".
    """
    asked, cores = request.torch, usable_cores()
    convolves = bool(FAMILIES[request.model.family].BATCH_NORM)
    automatic = {
        "compile": Auto(INDUCTOR, "torch.compile fuses what eager PyTorch reads and writes once more")
        if platform == "gpu"
        else Auto(EAGER, "on a CPU oneDNN's and MKL's kernels do the work; compiling takes minutes"),
        "channels_last": Auto(True, "the layout of cuDNN's tensor-core kernels and of oneDNN's convolutions")
        if convolves
        else Auto(False, "no convolution but the patches', which is one product"),
        "attention": Auto("sdpa", "torch's own choice among its fused attention kernels"),
        "threads": Auto(cores, "all cores that this process may use, as XLA:CPU takes them"),
        "fused": Auto(True, "one kernel for many parameters"),
    }
    chosen = {key: auto for key, auto in automatic.items() if getattr(asked, key) is None}
    values = {key: auto.value for key, auto in chosen.items()}
    if convolves:
        chosen.pop("attention", None)
    return dataclasses.replace(asked, **values), {f"torch.{key}": auto for key, auto in chosen.items()}


def set_globally(request: Request) -> None:
    """Threads, seed, and how float32 is multiplied: what PyTorch keeps per process."""
    assert request.torch.threads is not None
    torch.set_num_threads(request.torch.threads)
    torch.manual_seed(request.seed)
    tf32 = request.precision.name == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True


def described(request: Request, device: torch.device) -> record.Framework:
    """The section of the record on what ran the step."""
    how = request.torch
    versions: dict[str, Any] = {"cuda": None, "cudnn": None}
    if device.type == "cuda":
        cudnn = torch.backends.cudnn.version()
        versions = {"cuda": torch.version.cuda or torch.version.hip, "cudnn": str(cudnn) if cudnn else None}
    return record.Framework(
        name="torch",
        version=torch.__version__,
        models=f"transformers {transformers.__version__}",
        compile=how.compile or EAGER,
        channels_last=bool(how.channels_last),
        attention=None if request.model.family == "resnet" else how.attention,
        threads=torch.get_num_threads(),
        fused_optimizer=bool(how.fused),
        **versions,
    )
