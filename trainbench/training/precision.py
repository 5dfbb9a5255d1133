"""Precision policies: which dtype holds parameters, which one computes, and how products are accumulated."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import DTypeLike

from trainbench.errors import UserError
from trainbench.hardware.chips import Chip

# The name under which chips list the dense peak of each policy's matrix work.
PEAK_DTYPE = {"bf16": "bf16", "bf16_full": "bf16", "fp32": "fp32", "tf32": "tf32"}


@dataclass(frozen=True)
class Precision:
    """Dtypes of one policy; normalisation statistics, softmax, logits and loss are float32 in all.

    `matmul_precision` is what `jax.default_matmul_precision` takes; None leaves the backend's default.
    """

    name: str
    param_dtype: DTypeLike
    compute_dtype: DTypeLike
    matmul_precision: str | None

    @classmethod
    def of(cls, name: str, param_dtype: str, compute_dtype: str, matmul_precision: str | None) -> "Precision":
        return cls(name, jnp.dtype(param_dtype), jnp.dtype(compute_dtype), matmul_precision)

    @property
    def peak_dtype(self) -> str:
        """The dtype whose dense peak MFU is measured against."""
        return PEAK_DTYPE[self.name]


def check_supported(precision: Precision, platform: str, chip: Chip | None) -> None:
    """Refuse a policy that this device could only imitate, with what it can do instead.

    A CPU runs bf16 by converting to float32, which is allowed because it is the documented smoke test;
    TF32 exists on NVIDIA GPUs from Ampere on.
    """
    allowed = "bf16, bf16_full, fp32"
    if precision.name == "tf32":
        has_tf32 = platform in ("gpu", "cuda") and (chip is None or chip.peak_tflops.get("tf32") is not None)
        if not has_tf32:
            where = chip.name if chip else f"a {platform.upper()}"
            raise UserError(
                f"precision=tf32 needs an NVIDIA GPU of the Ampere generation or later; this is {where}",
                allowed=allowed,
                fix="use precision=fp32 (true float32) or precision=bf16",
            )
    lacks_bf16 = chip is not None and chip.peak_tflops.get("bf16") is None
    if precision.peak_dtype == "bf16" and chip is not None and lacks_bf16:
        raise UserError(
            f"precision={precision.name} needs bfloat16 matrix units, which {chip.name} does not have",
            allowed="fp32",
            fix="use precision=fp32",
        )
