"""Precision policies: which dtype holds parameters, which one computes, and how products are accumulated."""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import DTypeLike

from trainbench.errors import UserError
from trainbench.training.device import Devices

# The name under which chips list the dense peak of each policy's matrix work.
FP8 = "fp8"
PEAK_DTYPE = {"bf16": "bf16", "bf16_full": "bf16", "fp32": "fp32", "tf32": "tf32", "fp8": FP8}


@dataclass(frozen=True)
class Precision:
    """Dtypes of one policy; normalisation statistics, softmax, logits and loss are float32 in all.

    `matmul_precision` is what `jax.default_matmul_precision` takes; None leaves the backend's default.
    `dense` is "fp8" where the products of dense layers are in 8 bits (models/fp8.py), and None where they are
    in the compute dtype.
    """

    name: str
    param_dtype: DTypeLike
    compute_dtype: DTypeLike
    matmul_precision: str | None
    dense: str | None = None

    @classmethod
    def of(
        cls,
        name: str,
        param_dtype: str,
        compute_dtype: str,
        matmul_precision: str | None,
        dense: str | None = None,
    ) -> "Precision":
        return cls(name, jnp.dtype(param_dtype), jnp.dtype(compute_dtype), matmul_precision, dense)

    @property
    def peak_dtype(self) -> str:
        """The dtype whose dense peak MFU is measured against."""
        return PEAK_DTYPE[self.name]


# As in its file; what a refused fp8 is replaced by.
BF16 = Precision("bf16", jnp.dtype("float32"), jnp.dtype("bfloat16"), None)
# The first NVIDIA generation with TF32 and bfloat16 tensor cores (Ampere), as a CUDA compute capability.
AMPERE = 8.0
# The first with tensor cores for the 8-bit formats (Ada; Hopper is 9.0).
ADA = 8.9


def check_supported(precision: Precision, devices: Devices) -> None:
    """Refuse a policy that these devices could only imitate, with what they can do instead.

    A CPU runs bf16 and fp8 by converting to float32, which is allowed because it is the documented smoke
    test.
    """
    lacking = _what_is_lacking(precision, devices)
    if lacking:
        others = "fp32" if precision.peak_dtype == "bf16" else "bf16, bf16_full, fp32"
        has_bf16 = precision.peak_dtype == FP8 and _what_is_lacking(BF16, devices) is None
        where = devices.chip.name if devices.chip else devices.kind
        raise UserError(
            f"precision={precision.name} needs {lacking}; this is {where}",
            allowed=others,
            fix="precision=bf16" if has_bf16 else "precision=fp32",
        )


def _what_is_lacking(precision: Precision, devices: Devices) -> str | None:
    dtype = precision.peak_dtype
    if dtype == "fp32":
        return None
    if dtype == FP8:
        return None if _has_fp8(devices) else "units that multiply 8-bit floats faster (Ada, Hopper, TPU 7x)"
    what = "an NVIDIA GPU of the Ampere generation or later" if dtype == "tf32" else "bfloat16 matrix units"
    if devices.platform in ("cpu", "tpu"):
        return what if dtype == "tf32" else None
    if devices.chip is not None:
        return None if devices.chip.peak_tflops[dtype] is not None else what
    if devices.compute_capability is None:
        return what if dtype == "tf32" else None
    return None if devices.compute_capability >= AMPERE else what


def _has_fp8(devices: Devices) -> bool:
    """Whether 8-bit floats gain anything; AMD's first GPUs with them have formats of their own (e4m3fnuz)."""
    if devices.platform == "cpu":
        return True
    if devices.platform == "gpu":
        return devices.compute_capability is not None and devices.compute_capability >= ADA
    rates = devices.chip.peak_tflops if devices.chip else {}
    return (rates.get(FP8) or 0.0) > (rates.get("bf16") or 0.0)
