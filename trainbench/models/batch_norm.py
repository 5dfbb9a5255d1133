"""Batch normalisation, with several ways to take the statistics.

Legend: B batch, C channels, G groups of samples.
"""

from math import prod

import jax
import jax.numpy as jnp
from flax import nnx

from trainbench.models import batch_sums
from trainbench.models.layers import Policy

# torch.nn.BatchNorm2d's defaults, which torchvision and NVIDIA DeepLearningExamples use for ResNet.
BATCH_NORM_MOMENTUM = 0.1
BATCH_NORM_EPSILON = 1e-5

# How batch statistics are taken; and, where the mean comes first, the names of both passes in the program.
ONE_PASS, TWO_PASS, SLICES = "one_pass", "two_pass", "slices"
FIRST_PASS, SECOND_PASS = "mean_of_batch", "variance_of_batch"


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
