"""What the architectures share: the precision policy, normalisation, dense layers, the feed-forward block.

Legend: B batch, H height, W width, C channels, T tokens, D width, F hidden width of the feed-forward block.
"""

from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from trainbench.models.dots import float32_einsum

# torch.nn.BatchNorm2d's defaults, which torchvision and NVIDIA DeepLearningExamples use for ResNet.
BATCH_NORM_MOMENTUM = 0.1
BATCH_NORM_EPSILON = 1e-5

# Goyal et al. 2017 (arXiv:1706.02677), section 5.1: standard deviation of the last layer's weights.
CLASSIFIER_STDDEV = 0.01


@dataclass(frozen=True)
class Policy:
    """The dtypes of stored parameters and of arithmetic; softmax, statistics and logits stay float32."""

    param_dtype: DTypeLike = jnp.float32
    compute_dtype: DTypeLike = jnp.float32


class BatchNorm(nnx.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) over all axes but the last, statistics as in PyTorch.

    Written here because flax's own feeds the biased batch variance into the running variance, where PyTorch
    and TensorFlow's fused kernel feed the unbiased one (Bessel's correction, n / (n - 1)).

    The variance is E[(x - s)^2] - E[x - s]^2 with s the running mean: both sums come from one pass over the
    activations, which matters because ResNet is limited by memory bandwidth, and the shift keeps the
    difference from cancelling once s is near the batch mean. All statistics are float32.

    In a program partitioned over devices the batch is the global one: the compiler adds the reductions.
    """

    def __init__(self, features: int, *, policy: Policy, initial_scale: float = 1.0) -> None:
        self.scale = nnx.Param(jnp.full((features,), initial_scale, policy.param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), policy.param_dtype))
        self.mean = nnx.BatchStat(jnp.zeros((features,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((features,), jnp.float32))
        self.compute_dtype = policy.compute_dtype

    @jax.named_scope("batch_norm")
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Normalised inputs [..., C] in the compute dtype; `train` uses and records batch statistics."""
        inputs = inputs.astype(jnp.float32)
        mean, var = self._batch_statistics(inputs) if train else (self.mean[...], self.var[...])
        multiplier = self.scale[...].astype(jnp.float32) * jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
        normalised = (inputs - mean) * multiplier + self.bias[...].astype(jnp.float32)
        return normalised.astype(self.compute_dtype)

    def _batch_statistics(self, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and biased variance [C] of this batch; moves the running statistics on as a side effect."""
        axes = tuple(range(inputs.ndim - 1))
        running_mean = jax.lax.stop_gradient(self.mean[...])
        shifted = inputs - running_mean
        shifted_mean = shifted.mean(axes)
        mean = running_mean + shifted_mean
        # Rounding can leave a constant channel slightly negative.
        var = jnp.maximum(0.0, jnp.square(shifted).mean(axes) - jnp.square(shifted_mean))
        count = prod(inputs.shape[:-1])
        unbiased_var = var * (count / max(count - 1, 1))
        self.mean.set_value(_moved_on(running_mean, mean))
        self.var.set_value(_moved_on(self.var[...], unbiased_var))
        return mean, var


def _moved_on(running: jax.Array, batch: jax.Array) -> jax.Array:
    return (1 - BATCH_NORM_MOMENTUM) * running + BATCH_NORM_MOMENTUM * jax.lax.stop_gradient(batch)


def layer_norm(features: int, *, epsilon: float, policy: Policy, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer normalisation over the last axis; flax computes its statistics in float32 whatever the dtype."""
    return nnx.LayerNorm(
        features, epsilon=epsilon, dtype=policy.compute_dtype, param_dtype=policy.param_dtype, rngs=rngs
    )


def dense(
    in_features: int, out_features: int, *, kernel_init: Initializer, policy: Policy, rngs: nnx.Rngs
) -> nnx.Linear:
    """A dense layer with zero-initialised bias, computing and returning the compute dtype."""
    return nnx.Linear(
        in_features,
        out_features,
        kernel_init=kernel_init,
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
