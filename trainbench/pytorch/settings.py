"""The section `torch` of a configuration, and what `framework=torch` can do; read without PyTorch."""

import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainbench import checks, extras
from trainbench.errors import UserError

if TYPE_CHECKING:
    from trainbench.config import Request

EAGER, INDUCTOR = "eager", "inductor"
# torch.compile's modes by its own names, but for the one that it calls "default", which means "chosen" here.
COMPILES = (EAGER, INDUCTOR, "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
ATTENTIONS = ("sdpa", "eager")
FAMILIES = ("resnet", "vit", "bert", "gpt2", "llama", "t5")
OPTIMIZERS = ("sgd", "adamw", "lamb")
# What the models and their tensors are written with.
PACKAGES = ("torch", "transformers")


@dataclass(frozen=True)
class TorchConfig:
    """How PyTorch runs the step. None is left to be chosen.

    Attributes:
      compile: one of COMPILES.
      channels_last: whether images and the kernels of convolutions lie in memory with the channels last.
      attention: `sdpa`, torch's scaled_dot_product_attention, or `eager`, plain operations.
      threads: of a CPU.
      fused: whether the optimizer is one kernel for many parameters.
    """

    compile: str | None = None
    channels_last: bool | None = None
    attention: str | None = None
    threads: int | None = None
    fused: bool | None = None


def parse(tree: Mapping[str, Any]) -> TorchConfig:
    """The section `torch` of a composed configuration.

    Raises:
      UserError: a value is of the wrong type, or unknown.
    """
    section = checks.section(tree, "torch")
    names = [one.name for one in dataclasses.fields(TorchConfig)]
    checks.known(section, names, "torch")
    checks.present(section, names, "torch")

    def read(key: str, kind: checks.Kind) -> Any:
        return None if section[key] == "default" else checks.value(section, key, kind, f"torch.{key}")

    def choose(key: str, choices: tuple[str, ...]) -> str | None:
        chosen = checks.choice(section[key], f"torch.{key}", (*choices, "default"))
        return None if chosen == "default" else chosen

    return TorchConfig(
        compile=choose("compile", COMPILES),
        channels_last=read("channels_last", checks.FLAG),
        attention=choose("attention", ATTENTIONS),
        threads=read("threads", checks.COUNT),
        fused=read("fused", checks.FLAG),
    )


def check(request: "Request") -> None:
    """Nothing if PyTorch can run `request` here.

    Raises:
      UserError: it needs what `framework=torch` does not do, or PyTorch is not installed.
    """
    for setting, allowed, fix in _unsupported(request):
        raise UserError(f"{setting} is not done with framework=torch", allowed=allowed, fix=fix)
    check_installed("framework=torch", "framework=jax, which is the default")


def refuse(framework: str | None, what: str) -> None:
    """Nothing for JAX.

    Args:
      what: is JAX's alone.

    Raises:
      UserError: it is asked of PyTorch.
    """
    if framework == "torch":
        raise UserError(
            f"{what} is not done with framework=torch",
            allowed="a run of one process, a sweep (-m batch_size=8,16,32), or a race with --best-batch",
            fix="python -m trainbench framework=torch model=resnet50, or leave framework=torch out",
        )


def check_installed(what: str, allowed: str) -> None:
    """Nothing where PyTorch and the models are installed.

    Args:
      what: needs them.
      allowed: what can be had without.

    Raises:
      UserError: they are not.
    """
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        lacking = f"{' and '.join(missing)}, not installed here"
        raise UserError(f"{what} needs {lacking}", allowed=allowed, fix=extras.install("torch"))


def _unsupported(request: "Request") -> Iterator[tuple[str, str, str]]:
    """(what was asked for, what is allowed, what to type) for each thing that PyTorch does not do here."""
    # Imported here: the levers import JAX, which those do without who only ask what is installed.
    from trainbench.levers.registry import LEVERS

    model, optimizer = request.model, request.optimizer
    if model.family not in FAMILIES:
        yield f"model={model.name}", f"models of the families {', '.join(FAMILIES)}", "model=resnet50"
    if optimizer.name not in OPTIMIZERS:
        yield f"optimizer={optimizer.name}", ", ".join(OPTIMIZERS), f"optimizer={OPTIMIZERS[0]}"
    if model.family == "vit" and model.architecture.dropout_rate:
        where = "dropout (transformers' ViT drops at other places)"
        yield f"model.architecture.dropout_rate with ViT: {where}", "0", "model.architecture.dropout_rate=0"
    if request.precision.dense is not None:
        yield f"precision={request.precision.name}", "bf16, bf16_full, fp32 or tf32", "precision=bf16"
    single = {
        "steps_per_call": request.steps_per_call,
        "gradient_accumulation": request.gradient_accumulation,
        "parallel.fsdp": request.parallel.fsdp,
        "parallel.tensor": request.parallel.tensor,
        "distributed.num_processes": request.distributed.num_processes,
    }
    for key, value in single.items():
        if value not in (None, 1):
            yield f"{key}={value}", "1", f"leave {key} out"
    for key, value in request.levers.items():
        if value != LEVERS[key].plain:
            yield f"{key}={checks.shown(value)}", "levers of JAX's programs alone", f"leave {key} out"
    off: dict[str, tuple[Any, str]] = {
        "remat": (None if request.remat == "none" else request.remat, "none"),
        "batch_norm": (request.batch_norm, "default, which is the whole batch of one device"),
        "prng": (request.prng, "default, which is torch's own generator"),
        "trace": (request.trace, "false"),
        "checkpoint.every": (request.checkpoint.every, "null"),
        "reproduce": (request.reproduce, "null"),
        "timeout_s": (None if request.timeout_s == "default" else request.timeout_s, "default"),
    }
    for key, (asked, allowed) in off.items():
        if asked is not None:
            yield f"{key}={checks.shown(asked)}", allowed, f"leave {key} out"
