"""What the architectures share: the precision policy, normalisation, dense layers, the feed-forward block.

Legend: B batch, H height, W width, C channels, T tokens, D width, F hidden width of the feed-forward block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

from trainbench.levers.values import PLAIN, Levers
from trainbench.models import batch_sums, fp8
from trainbench.models.dots import float32_einsum

# torch.nn.BatchNorm2d's defaults, which torchvision and NVIDIA DeepLearningExamples use for ResNet.
BATCH_NORM_MOMENTUM = 0.1
BATCH_NORM_EPSILON = 1e-5

# How batch statistics are taken; and, where the mean comes first, the names of both passes in the program.
ONE_PASS, TWO_PASS, SLICES = "one_pass", "two_pass", "slices"
FIRST_PASS, SECOND_PASS = "mean_of_batch", "variance_of_batch"

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


class BatchNorm(nnx.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) over all axes but the last, statistics as in PyTorch.

    Written here because flax's own feeds the biased batch variance into the running variance, where PyTorch
    and TensorFlow's fused kernel feed the unbiased one (Bessel's correction, n / (n - 1)).

    The variance is E[(x - s)^2] - E[x - s]^2 with s the running mean: both sums come from one pass over the
    activations, which matters because ResNet is limited by memory bandwidth, and the shift keeps the
    difference from cancelling once s is near the batch mean. All statistics are float32. With the lever
    `batch_statistics` at "two_pass" it is E[(x - E[x])^2], as Flax's without `use_fast_variance`; at "slices"
    it is in one pass, and sums are taken as `batch_sums` says.

    In a program partitioned over devices the batch is the global one; the compiler adds the reductions. These
    are synchronised statistics. With `policy.norm_groups` as many as the batch has parts on the devices, each
    part has statistics of its own, and the running ones move towards the mean of these.
    """

    def __init__(self, features: int, *, policy: Policy, initial_scale: float = 1.0) -> None:
        self.scale = nnx.Param(jnp.full((features,), initial_scale, policy.param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), policy.param_dtype))
        self.mean = nnx.BatchStat(jnp.zeros((features,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((features,), jnp.float32))
        self.compute_dtype = policy.compute_dtype
        self.groups = policy.norm_groups
        self.statistics = policy.levers.batch_statistics

    @jax.named_scope("batch_norm")
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Normalised inputs [B, ..., C] in the compute dtype; `train` uses and records batch statistics."""
        if not train:
            return self._normalised(inputs.astype(jnp.float32), self.mean[...], self.var[...])
        shape = inputs.shape
        if self.statistics == SLICES:
            return self._normalised_by_slices(inputs)
        if self.groups > 1:
            inputs = inputs.reshape(self.groups, shape[0] // self.groups, *shape[1:])
        inputs = inputs.astype(jnp.float32)
        mean, var = self._batch_statistics(inputs)
        return self._normalised(inputs, mean, var).reshape(shape)

    def _normalised(self, inputs: jax.Array, mean: jax.Array, var: jax.Array) -> jax.Array:
        multiplier = self.scale[...].astype(jnp.float32) * jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
        normalised = (inputs - mean) * multiplier + self.bias[...].astype(jnp.float32)
        return normalised.astype(self.compute_dtype)

    def _batch_statistics(self, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and biased variance of this batch; moves the running statistics on as a side effect.

        Both are [C]; with groups, [G, 1, ..., C] of inputs [G, B / G, ..., C].
        """
        grouped = self.groups > 1
        axes = tuple(range(int(grouped), inputs.ndim - 1))
        running_mean = jax.lax.stop_gradient(self.mean[...])
        if self.statistics == TWO_PASS:
            mean, var = _in_two_passes(inputs, axes, keepdims=grouped)
        else:
            mean, var = _in_one_pass(inputs, running_mean, axes, keepdims=grouped)
        self._move_on(mean, var, count=prod(inputs.shape[int(grouped) : -1]))
        return mean, var

    def _normalised_by_slices(self, inputs: jax.Array) -> jax.Array:
        grouped = inputs.reshape(self.groups, inputs.shape[0] // self.groups, *inputs.shape[1:])
        scale, bias = self.scale[...].astype(jnp.float32), self.bias[...].astype(jnp.float32)
        outputs, mean, var = batch_sums.normalise(grouped, scale, bias, self.mean[...], BATCH_NORM_EPSILON)
        self._move_on(mean, var, count=prod(grouped.shape[1:-1]))
        return outputs.astype(self.compute_dtype).reshape(inputs.shape)

    def _move_on(self, mean: jax.Array, var: jax.Array, *, count: int) -> None:
        """The running statistics towards those of this batch, which are of `count` elements each."""
        unbiased_var = var * (count / max(count - 1, 1))
        self.mean.set_value(_moved_on(self.mean[...], _over_groups(mean)))
        self.var.set_value(_moved_on(self.var[...], _over_groups(unbiased_var)))


def _in_one_pass(
    inputs: jax.Array, shift: jax.Array, axes: tuple[int, ...], *, keepdims: bool
) -> tuple[jax.Array, jax.Array]:
    shifted = inputs - shift
    shifted_mean = shifted.mean(axes, keepdims=keepdims)
    squares_mean = jnp.square(shifted).mean(axes, keepdims=keepdims)
    # Rounding can leave a constant channel slightly negative.
    return shift + shifted_mean, jnp.maximum(0.0, squares_mean - jnp.square(shifted_mean))


def _in_two_passes(
    inputs: jax.Array, axes: tuple[int, ...], *, keepdims: bool
) -> tuple[jax.Array, jax.Array]:
    with jax.named_scope(FIRST_PASS):
        mean = inputs.mean(axes, keepdims=True)
    with jax.named_scope(SECOND_PASS):
        var = jnp.square(inputs - mean).mean(axes, keepdims=keepdims)
    return mean.reshape(var.shape), var


def _over_groups(statistic: jax.Array) -> jax.Array:
    """The mean [C] of statistics [G, 1, ..., C]; statistics [C] themselves."""
    return statistic.mean(tuple(range(statistic.ndim - 1)))


def _moved_on(running: jax.Array, batch: jax.Array) -> jax.Array:
    return (1 - BATCH_NORM_MOMENTUM) * running + BATCH_NORM_MOMENTUM * jax.lax.stop_gradient(batch)


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
