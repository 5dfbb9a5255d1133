"""What the architectures share: the precision policy, dense layers, the feed-forward block.

Legend: B batch, T tokens, D width, F hidden width of the feed-forward block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from trainbench.levers.values import PLAIN, Levers
from trainbench.models import fp8
from trainbench.models.dots import float32_einsum

# Goyal et al. 2017 (arXiv:1706.02677), section 5.1: standard deviation of the last layer's weights.
CLASSIFIER_STDDEV = 0.01


@dataclass(frozen=True)
class Policy:
    """How a model computes, whatever its architecture.

    Attributes:
      param_dtype: of stored parameters.
      compute_dtype: of arithmetic; softmax, statistics and logits stay float32.
      remat: what the backward pass computes again, one of `REMAT_POLICIES`.
      norm_groups: equal parts of the batch, one after the other, whose batch statistics are apart.
      levers: how it is computed where there are several ways.
      fp8: whether the products of `dense` layers are in 8 bits.
    """

    param_dtype: DTypeLike = jnp.float32
    compute_dtype: DTypeLike = jnp.float32
    remat: str = "none"
    norm_groups: int = 1
    levers: Levers = PLAIN
    fp8: bool = False


def _keep_products(primitive: Any, *arguments: Any, **parameters: Any) -> bool:
    """Whether the backward pass is to find this kept: products with weights, and convolutions.

    Products of two activations, attention's, are large and cheap, so they are computed again.
    """
    if primitive is jax.lax.conv_general_dilated_p:
        return True
    keep_dots = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    return bool(keep_dots(primitive, *arguments, **parameters))


# What the backward pass of a block finds kept, besides its inputs; it computes the rest again.
REMAT_POLICIES = {"dots": _keep_products, "full": jax.checkpoint_policies.nothing_saveable}


# The axes of a mesh that split the samples of a batch, where the program is traced for a mesh.
BATCH_AXES = ("data", "fsdp")


def by_sample(activations: jax.Array) -> jax.Array:
    """The same activations [B, ...], each device holding those of its own samples and no others'.

    Without a word the compiler may split them as it finds a table of embeddings split, along the width, and
    move all of them to and fro in every layer. Outside of a mesh nothing happens.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return activations
    free = [PartitionSpec.UNCONSTRAINED] * (activations.ndim - 1)
    return jax.lax.with_sharding_constraint(activations, PartitionSpec(BATCH_AXES, *free))


def run_block(block: nnx.Module, inputs: jax.Array, *arrays: Any, remat: str, train: bool) -> jax.Array:
    """What `block(inputs, *arrays, train=train)` returns, rematerialised as `Policy.remat` says.

    Args:
      arrays: further arguments, such as a mask or an `nnx.Rngs`; None is possible.
    """

    def call(block: Any, inputs: jax.Array, *arrays: Any) -> jax.Array:
        outputs: jax.Array = block(inputs, *arrays, train=train)
        return outputs

    if remat == "none" or not train:
        return call(block, inputs, *arrays)
    outputs: jax.Array = nnx.remat(call, policy=REMAT_POLICIES[remat])(block, inputs, *arrays)
    return outputs


def layer_norm(features: int, *, epsilon: float, policy: Policy, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer normalisation over the last axis; flax computes its statistics in float32 whatever the dtype."""
    return nnx.LayerNorm(
        features, epsilon=epsilon, dtype=policy.compute_dtype, param_dtype=policy.param_dtype, rngs=rngs
    )


def rms_norm(features: int, *, epsilon: float, policy: Policy, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """Division by the root mean square over the last axis, and a scale (Zhang and Sennrich 2019,
    arXiv:1910.07467); flax computes the mean in float32 whatever the dtype.
    """
    return nnx.RMSNorm(
        features, epsilon=epsilon, dtype=policy.compute_dtype, param_dtype=policy.param_dtype, rngs=rngs
    )


def dense(
    in_features: int,
    out_features: int,
    *,
    kernel_init: Initializer,
    use_bias: bool = True,
    policy: Policy,
    rngs: nnx.Rngs,
) -> nnx.Linear:
    """A dense layer with zero-initialised bias or none, computing and returning the compute dtype."""
    return nnx.Linear(
        in_features,
        out_features,
        use_bias=use_bias,
        kernel_init=kernel_init,
        dot_general=fp8.dot_general if policy.fp8 else jax.lax.dot_general,
        dtype=policy.compute_dtype,
        param_dtype=policy.param_dtype,
        rngs=rngs,
    )


class Classifier(nnx.Module):
    """The last dense layer of an image classifier: compute-dtype inputs, float32 logits."""

    def __init__(self, features: int, classes: int, *, policy: Policy, rngs: nnx.Rngs) -> None:
        kernel_init = jax.nn.initializers.normal(CLASSIFIER_STDDEV)
        self.kernel = nnx.Param(kernel_init(rngs.params(), (features, classes), policy.param_dtype))
        self.bias = nnx.Param(jnp.zeros((classes,), policy.param_dtype))
        self.compute_dtype = policy.compute_dtype

    @jax.named_scope("head")
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Float32 logits [B, classes] of features [B, D]."""
        kernel = self.kernel[...].astype(self.compute_dtype)
        logits = float32_einsum("bd,dc->bc", inputs.astype(self.compute_dtype), kernel)
        return logits + self.bias[...].astype(jnp.float32)


class FeedForward(nnx.Module):
    """The transformer's two dense layers with GELU between (Hendrycks and Gimpel 2016).

    `kernel_init` initialises both, but for the second one where `out_init` is given. `approximate_gelu` takes
    the tanh formula of the paper's section 2, which GPT-2 was trained with, instead of the exact function.
    """

    def __init__(
        self,
        width: int,
        hidden_width: int,
        *,
        inner_dropout_rate: float,
        kernel_init: Initializer,
        out_init: Initializer | None = None,
        approximate_gelu: bool = False,
        policy: Policy,
        rngs: nnx.Rngs,
    ) -> None:
        self.up = dense(width, hidden_width, kernel_init=kernel_init, policy=policy, rngs=rngs)
        self.down = dense(hidden_width, width, kernel_init=out_init or kernel_init, policy=policy, rngs=rngs)
        self.dropout = nnx.Dropout(inner_dropout_rate)
        self.approximate_gelu = approximate_gelu

    @jax.named_scope("mlp")
    def __call__(self, inputs: jax.Array, *, train: bool, rngs: nnx.Rngs | None) -> jax.Array:
        """Transformed tokens [B, T, D]."""
        hidden = jax.nn.gelu(self.up(inputs), approximate=self.approximate_gelu)
        hidden = self.dropout(hidden, deterministic=not train, rngs=rngs)
        return self.down(hidden)


class GatedFeedForward(nnx.Module):
    """Two dense layers side by side, one of them through an activation, multiplied, then a third; no biases.

    With SiLU this is SwiGLU, with GELU it is GEGLU (Shazeer 2020, arXiv:2002.05202).
    """

    def __init__(
        self,
        width: int,
        hidden_width: int,
        *,
        activation: Callable[[jax.Array], jax.Array],
        kernel_init: Initializer,
        out_init: Initializer,
        policy: Policy,
        rngs: nnx.Rngs,
    ) -> None:
        common: Any = {"use_bias": False, "policy": policy, "rngs": rngs}
        self.gate = dense(width, hidden_width, kernel_init=kernel_init, **common)
        self.up = dense(width, hidden_width, kernel_init=kernel_init, **common)
        self.down = dense(hidden_width, width, kernel_init=out_init, **common)
        self.activation = activation

    @jax.named_scope("mlp")
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Transformed tokens [B, T, D]."""
        return self.down(self.activation(self.gate(inputs)) * self.up(inputs))
