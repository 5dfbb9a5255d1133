"""Whether a training step fits, from its compiled program alone."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainbench import config
from trainbench.errors import ExitCode, OutOfMemory, first_line
from trainbench.fits import is_out_of_memory
from trainbench.pytorch import settings
from trainbench.report.numbers import size, units
from trainbench.report.progress import ProgressLine
from trainbench.run import Parts, build
from trainbench.training.compile import enable_compilation_cache
from trainbench.training.device import memory_limit_bytes


@dataclass(frozen=True)
class Fit:
    """What the compiler says of one training step; memory is per device.

    Attributes:
      batch_size: samples per device and optimizer step.
      gradient_accumulation: micro-batches that `batch_size` is cut into.
      needed_bytes: arguments, outputs and temporaries of the step; None where not even its input fits.
      available_bytes: what the device may allocate; None where the runtime doesn't say.
      fits: None where it cannot be known.
      flops_per_sample: analytic, forward and backward.
    """

    model: str
    platform: str
    sample_unit: str
    batch_size: int
    gradient_accumulation: int
    flops_per_sample: float
    needed_bytes: int | None
    available_bytes: int | None
    fits: bool | None
    reason: str


def compile_and_show(tree: Mapping[str, Any], *, as_json: bool) -> ExitCode:
    """Compile what `tree` describes and print whether it fits.

    Raises:
      UserError: the configuration is wrong.
    """
    enable_compilation_cache()
    with ProgressLine() as progress:
        fit = compiled(tree, progress)
    print(json.dumps(asdict(fit)) if as_json else "\n".join(_lines(fit)))
    return ExitCode.OUT_OF_MEMORY if fit.fits is False else ExitCode.OK


def compiled(tree: Mapping[str, Any], progress: ProgressLine) -> Fit:
    """What the compiler says of the step that `tree` describes."""
    parts = Parts(request=config.parse(tree), tree=tree, command="")
    settings.refuse(parts.request.framework, "fits, which asks XLA's compiler,")
    refused = ""
    try:
        with tempfile.TemporaryDirectory(prefix="trainbench-") as scratch:
            build(parts, progress, Path(scratch))
    except OutOfMemory as error:
        refused = str(error)
    except Exception as error:
        # Compilers for accelerators refuse what does not fit.
        if parts.config is None or not is_out_of_memory(error):
            raise
        refused = first_line(error)
    assert parts.config is not None
    assert parts.task is not None
    assert parts.devices is not None
    needed = parts.executable.peak_bytes if parts.executable else None
    available = memory_limit_bytes(parts.devices)
    fits = False if refused else None if needed is None or available is None else needed <= available
    return Fit(
        model=parts.request.model.label,
        platform=parts.devices.platform,
        sample_unit=parts.task.sample_unit,
        batch_size=parts.config.batch_size,
        gradient_accumulation=parts.request.gradient_accumulation,
        flops_per_sample=parts.task.flops_per_sample(),
        needed_bytes=needed,
        available_bytes=available,
        fits=fits,
        reason=refused,
    )


def _lines(fit: Fit) -> list[str]:
    answer = {True: "yes", False: "no", None: "unknown"}[fit.fits]
    needed = "more than that" if fit.needed_bytes is None else size(fit.needed_bytes)
    available = "an unknown amount" if fit.available_bytes is None else size(fit.available_bytes)
    per_step = f"{fit.batch_size:,} {units(fit.sample_unit)} per device and step"
    lines = [
        f"fits         {answer} · {fit.model} · {per_step}",
        f"memory       {available} may be allocated per device; the step needs {needed} (compiler)",
    ]
    return [*lines, f"reason       {fit.reason}"] if fit.reason else lines
