"""The dtype of an optimizer's running mean of gradients (momentum; Adam's first moment).

In bfloat16 the optimizer reads and writes 2 bytes less of each parameter. The second moment stays float32:
Adam divides by its root, and the 8 significant bits of bfloat16 would keep b2 = 0.999 from ever moving it.
Optax calls this `mu_dtype` and `accumulator_dtype`; MaxText trains so by `mu_dtype`.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from trainbench.auto import Auto
from trainbench.levers.lever import Lever, NotProven, Program, Situation

if TYPE_CHECKING:
    from trainbench.config import Request

FP32, BF16 = "fp32", "bf16"


def dtype_of(first_moment: str) -> Any:
    """The dtype for Optax; None takes that of the parameters."""
    return jnp.bfloat16 if first_moment == BF16 else None


def _applies(request: "Request") -> bool:
    # Where parameters are bfloat16, so is all of the state.
    return jnp.dtype(request.precision.param_dtype) == jnp.float32


def _default(situation: Situation) -> Auto:
    del situation
    return Auto(FP32, "the dtype of the parameters, as published runs have it")


def _prove(value: Any, program: Program) -> str:
    kept = [leaf for leaf in jax.tree.leaves(program.state.optimizer) if leaf.dtype == jnp.bfloat16]
    taken = [one for one in program.module.entry.parameters if one.shape.dtype == "bf16"]
    if not kept or len(taken) < len(kept):
        raise NotProven(
            f"first_moment={value}, yet the compiled step takes {len(taken)} bfloat16 arrays for {len(kept)}"
        )
    return f"the compiled step takes {len(kept)} first moments in bfloat16"


LEVER = Lever(
    key="first_moment",
    summary="dtype of the optimizer's running mean of gradients",
    plain=FP32,
    values=(FP32, BF16),
    applies=_applies,
    default=_default,
    prove=_prove,
    unusual=True,
)
