"""Compiler options that trainbench sets by itself, each with its reason.

They go into `jax.jit(compiler_options=...)`, so they hold for our programs alone, and an unknown one is an
error. Whatever the user sets in XLA_FLAGS wins.
"""

from collections.abc import Mapping

# XLA:CPU hands fused reductions to YNNPACK. From jaxlib 0.10.2 on that gave wrong results and crashes
# (jax-ml/jax#39103, #39257, #40412). Seen here with 0.11.2 and 0.12.0.1: the mean over the pixels of a
# bfloat16 residual block comes out as NaN or 1e35 (tests/hardware/test_flags.py).
YNN_FUSION = "xla_cpu_experimental_ynn_fusion_type"
YNN_REASON = "XLA:CPU's YNNPACK fusions compute wrong values (jax-ml/jax#39103), so they are off"


# XLA would else have every device draw the bits of the global batch, and keep its own part of them. Seen in
# programs compiled for 4 TPU v3 chips (libtpu 0.0.42.1). "Unsafe" is that the values depend on the sharding.
PARTITIONED_RBG = "xla_tpu_spmd_rng_bit_generator_unsafe"
RBG_REASON = "each device draws the random bits of its own part of the batch only"


def compiler_options(
    platform: str, environment: Mapping[str, str], prng: str | None = None
) -> tuple[dict[str, str], str]:
    """(options, reason) for programs on `platform`; empty where nothing has to be set.

    >>> compiler_options("cpu", {})[0]
    {'xla_cpu_experimental_ynn_fusion_type': ''}
    >>> compiler_options("gpu", {})
    ({}, '')
    """
    if platform == "tpu" and prng == "rbg":
        return {PARTITIONED_RBG: "true"}, RBG_REASON
    if platform != "cpu" or YNN_FUSION in environment.get("XLA_FLAGS", ""):
        return {}, ""
    return {YNN_FUSION: ""}, YNN_REASON
