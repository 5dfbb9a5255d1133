"""Multi-head attention of encoders and decoders (Vaswani et al. 2017, section 3.2).

Legend: B batch, T query tokens, S key tokens, N heads, H head width, D model width (N x H, where nothing
else is said), K key heads, each of which G = N / K query heads share (Ainslie et al. 2023, arXiv:2305.13245).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from trainbench.models import attention_kernels
from trainbench.models.dots import float32_einsum
from trainbench.models.layers import Policy, dense


@dataclass(frozen=True)
class Calls:
    """Like calls of `attend` in a forward pass, one in each of so many blocks.

    Attributes:
      count: how many.
      length: query tokens (T).
      keys: key tokens (S).
      head_width: features of a head (H).
      biased: whether something is added to the logits.
      dropout_rate: share of the probabilities that training drops.
    """

    count: int
    length: int
    keys: int
    head_width: int
    biased: bool = False
    dropout_rate: float = 0.0


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    train: bool,
    causal: bool = False,
    padding: jax.Array | None = None,
    bias: jax.Array | None = None,
    scale: float | None = None,
    dropout_rate: float = 0.0,
    rngs: nnx.Rngs | None = None,
    backend: str = "xla",
) -> jax.Array:
    """The attention output [B, T, N, H] in the dtype of `value`.

    Args:
      query: [B, T, N, H].
      key, value: [B, S, K, H]; key head n // G is query head n's.
      causal: whether a token sees none of the later ones.
      padding: bool [B, S], True at real keys; nothing attends to the others, which come last. None: all are.
      bias: float32, broadcastable to [B, N, T, S], added to the scaled logits.
      scale: of the logits; None: 1 / sqrt(H).
      dropout_rate: share of the probabilities dropped when `train` is true.
      rngs: source of the dropout keys; needed only when something is dropped.
      backend: what computes it in training, as the lever `attention` has it: "xla", "cudnn" or "splash".
        Elsewhere it is "xla".

    Raises:
      ValueError: `backend` cannot do what is asked for, which the lever refuses before.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    common: Any = {"causal": causal, "padding": padding, "scale": scale}
    if not train or backend == "xla":
        dropout = nnx.Dropout(dropout_rate, deterministic=not train)
        return _plain(query, key, value, bias=bias, dropout=dropout, rngs=rngs, **common)
    if dropout_rate > 0:
        raise ValueError(f"attention by {backend} drops no probabilities")
    if backend == "cudnn":
        return attention_kernels.cudnn(query, key, value, bias=bias, **common)
    if bias is not None:
        raise ValueError(f"attention by {backend} takes no bias")
    return attention_kernels.splash(query, key, value, **common)


def _plain(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    causal: bool,
    padding: jax.Array | None,
    bias: jax.Array | None,
    scale: float,
    dropout: nnx.Dropout,
    rngs: nnx.Rngs | None,
) -> jax.Array:
    """Attention by plain XLA operations.

    Logits are accumulated and kept in float32 and the softmax is float32; only the probabilities are rounded
    to the compute dtype, because bfloat16 logits lose the differences that the softmax feeds on.
    """
    logits = _logits(query, key) * scale
    if bias is not None:
        logits = logits + bias
    mask = None if padding is None else padding[:, None, None, :]
    if causal:
        mask = causal_mask(query.shape[1]) if mask is None else mask & causal_mask(query.shape[1])
    if mask is not None:
        # The lowest finite number, not -inf: a row without any allowed key must not become NaN.
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    probabilities = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
    return _mixed(dropout(probabilities, rngs=rngs), value)


def _logits(query: jax.Array, key: jax.Array) -> jax.Array:
    """Float32 products [B, N, T, S]; keys that heads share are multiplied as they are, not repeated."""
    batch, length, heads, width = query.shape
    key_heads = key.shape[2]
    if heads == key_heads:
        return float32_einsum("btnh,bsnh->bnts", query, key)
    grouped = query.reshape(batch, length, key_heads, heads // key_heads, width)
    return float32_einsum("btkgh,bskh->bkgts", grouped, key).reshape(batch, heads, length, key.shape[1])


def _mixed(probabilities: jax.Array, value: jax.Array) -> jax.Array:
    """The sums [B, T, N, H] of values weighted by probabilities [B, N, T, S]."""
    batch, heads, length, keys = probabilities.shape
    key_heads = value.shape[2]
    if heads == key_heads:
        return jnp.einsum("bnts,bsnh->btnh", probabilities, value)
    grouped = probabilities.reshape(batch, key_heads, heads // key_heads, length, keys)
    return jnp.einsum("bkgts,bskh->btkgh", grouped, value).reshape(batch, length, heads, value.shape[-1])


def causal_mask(length: int) -> jax.Array:
    """Bool [T, T], True where a token (row) may look at another (column): at itself and at earlier ones."""
    positions = jnp.arange(length)
    return positions[:, None] >= positions


class SelfAttention(nnx.Module):
    """Four dense layers around `attend`; query, key and value stay apart, so that a path names each.

    `kernel_init` initialises all four, but for the last one where `out_init` is given.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout_rate: float,
        causal: bool = False,
        kernel_init: Initializer,
        out_init: Initializer | None = None,
        policy: Policy,
        rngs: nnx.Rngs,
    ) -> None:
        self.query = dense(width, width, kernel_init=kernel_init, policy=policy, rngs=rngs)
        self.key = dense(width, width, kernel_init=kernel_init, policy=policy, rngs=rngs)
        self.value = dense(width, width, kernel_init=kernel_init, policy=policy, rngs=rngs)
        self.out = dense(width, width, kernel_init=out_init or kernel_init, policy=policy, rngs=rngs)
        self.heads = heads
        self.dropout_rate = dropout_rate
        self.causal = causal
        self.backend = policy.levers.attention

    @jax.named_scope("attention")
    def __call__(
        self, inputs: jax.Array, *, padding: jax.Array | None, train: bool, rngs: nnx.Rngs | None
    ) -> jax.Array:
        """Mixed tokens [B, T, D]; `padding` as in `attend`."""
        attended = attend(
            split_heads(self.query(inputs), self.heads),
            split_heads(self.key(inputs), self.heads),
            split_heads(self.value(inputs), self.heads),
            train=train,
            causal=self.causal,
            padding=padding,
            dropout_rate=self.dropout_rate,
            rngs=rngs,
            backend=self.backend,
        )
        return self.out(attended.reshape(inputs.shape))


def split_heads(tokens: jax.Array, heads: int) -> jax.Array:
    """[B, T, heads, H] of tokens [B, T, heads x H]."""
    batch, length, width = tokens.shape
    return tokens.reshape(batch, length, heads, width // heads)


def merge_heads(tokens: jax.Array) -> jax.Array:
    """[B, T, N x H] of tokens [B, T, N, H]."""
    return tokens.reshape(*tokens.shape[:2], -1)
