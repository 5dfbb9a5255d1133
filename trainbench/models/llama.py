"""Llama, a decoder that predicts each next token (Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al.
2024, arXiv:2407.21783).

What is unusual:
- RMSNorm before each sublayer, rotary positions (RoPE: Su et al. 2021, arXiv:2104.09864), SwiGLU, no biases
  and no dropout. From Llama 2 70B on several query heads share one head of keys and values.
- Queries and keys rotate by halves, as in Hugging Face's release; Meta's own rotates neighbours. The two are
  the same model with the rows of two kernels in another order.
- No stretched frequencies: Llama 3.1 and 3.2 have them for contexts above the 8,192 tokens of pre-training
  (arXiv:2407.21783, section 3.4.2), and they cost nothing.
- The head is a table of its own, except in the smallest Llama 3.2, where it is the token table.
- MaxText's own models ("16B" to "512B") are Llamas whose heads together are up to twice as wide as the model.

Parameters, as released: Llama 2 7B 6,738,415,616; 70B 68,976,648,192. Llama 3.2 1B 1,235,814,400; Llama 3 and
3.1 8B 8,030,261,248; 70B 70,553,706,496; 405B 405,853,388,800.

Legend: B batch, T tokens, D width, V vocabulary, N heads, K key heads, H head width, F feed-forward width.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from trainbench.errors import UserError
from trainbench.models.attention import Calls, attend, merge_heads, split_heads
from trainbench.models.blocks import make_blocks, run_blocks
from trainbench.models.dots import float32_einsum
from trainbench.models.layers import (
    GatedFeedForward,
    Policy,
    by_sample,
    dense,
    rms_norm,
)
from trainbench.models.vocabulary import TokenHead, lengthened, of_tokens

TASK = "causal_language_model"
BATCH_NORM = False
LIKE_BLOCKS = True

# transformers, LlamaConfig: initializer_range. Meta publishes none.
INIT = jax.nn.initializers.normal(0.02)
# norm_eps of Llama 2 and 3: https://github.com/meta-llama/llama3/blob/main/llama/model.py
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Config:
    """One Llama.

    Attributes:
      vocabulary: number of tokens (V).
      width: features of a token (D).
      depth: number of blocks.
      heads: attention heads (N).
      key_heads: heads of keys and values (K); divides the heads.
      head_width: features of a head (H), which rotate in pairs.
      mlp_width: hidden features of the feed-forward block (F).
      positions: longest sequence.
      rotary_base: the slowest pair of features turns once in about 2 pi times as many tokens.
      tied: whether the head is the token table.
    """

    vocabulary: int = 128256
    width: int = 4096
    depth: int = 32
    heads: int = 32
    key_heads: int = 8
    head_width: int = 128
    mlp_width: int = 14336
    positions: int = 8192
    rotary_base: float = 500000.0
    tied: bool = False

    def __post_init__(self) -> None:
        if self.heads % self.key_heads:
            raise UserError(
                f"the {self.heads} heads of a Llama cannot share {self.key_heads} key heads equally",
                allowed="key_heads that divide the heads",
            )
        if self.head_width % 2:
            raise UserError(
                f"Llama head_width={self.head_width}: features rotate in pairs", allowed="an even head_width"
            )


class Attention(nnx.Module):
    """Four dense layers around `attend`; queries and keys turned by their tokens' positions in between."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        def projection(inputs: int, outputs: int) -> nnx.Linear:
            return dense(inputs, outputs, kernel_init=INIT, use_bias=False, policy=policy, rngs=rngs)

        query_width, key_width = config.heads * config.head_width, config.key_heads * config.head_width
        self.query = projection(config.width, query_width)
        self.key = projection(config.width, key_width)
        self.value = projection(config.width, key_width)
        self.out = projection(query_width, config.width)
        self.heads, self.key_heads = config.heads, config.key_heads
        self.backend = policy.levers.attention

    @jax.named_scope("attention")
    def __call__(self, inputs: jax.Array, turn: jax.Array, *, train: bool) -> jax.Array:
        """Mixed tokens [B, T, D]; `turn` as in `rotated`."""
        attended = attend(
            rotated(split_heads(self.query(inputs), self.heads), turn),
            rotated(split_heads(self.key(inputs), self.key_heads), turn),
            split_heads(self.value(inputs), self.key_heads),
            train=train,
            causal=True,
            backend=self.backend,
        )
        return self.out(merge_heads(attended))


class Block(nnx.Module):
    """Pre-norm decoder block: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.attention_norm = rms_norm(config.width, epsilon=NORM_EPSILON, policy=policy, rngs=rngs)
        self.attention = Attention(config, policy=policy, rngs=rngs)
        self.mlp_norm = rms_norm(config.width, epsilon=NORM_EPSILON, policy=policy, rngs=rngs)
        self.mlp = GatedFeedForward(
            config.width,
            config.mlp_width,
            activation=jax.nn.silu,
            kernel_init=INIT,
            out_init=INIT,
            policy=policy,
            rngs=rngs,
        )

    def __call__(self, tokens: jax.Array, turn: jax.Array, *, train: bool) -> jax.Array:
        """Tokens [B, T, D]; `turn` as in `rotated`."""
        tokens = tokens + self.attention(self.attention_norm(tokens), turn, train=train)
        return tokens + self.mlp(self.mlp_norm(tokens))


class Model(nnx.Module):
    """Llama for next-token prediction; parameter counts in the module's docstring."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        token = INIT(rngs.params(), (config.vocabulary, config.width), policy.param_dtype)
        self.token = nnx.Param(lengthened(token, 0, policy))
        block = partial(Block, config, policy=policy, rngs=rngs)
        self.blocks = make_blocks(block, config.depth, policy)
        self.norm = rms_norm(config.width, epsilon=NORM_EPSILON, policy=policy, rngs=rngs)
        if not config.tied:
            self.head = TokenHead(config.width, config.vocabulary, kernel_init=INIT, policy=policy, rngs=rngs)
        self.config = config
        self.compute_dtype = policy.compute_dtype
        self.remat = policy.remat

    def __call__(self, token_ids: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Float32 logits [B, T, V] of the token after each of `token_ids`, int32 [B, T].

        Nothing is random, so `rngs` are not used.
        """
        length = token_ids.shape[1]
        embedded = by_sample(jnp.take(self.token[...], token_ids, axis=0, mode="clip"))
        tokens = embedded.astype(self.compute_dtype)
        turn = turns(length, self.config.head_width, self.config.rotary_base)
        tokens = run_blocks(self.blocks, tokens, turn, remat=self.remat, train=train)
        tokens = self.norm(tokens)
        if self.config.tied:
            table = self.token[...].astype(self.compute_dtype)
            return of_tokens(float32_einsum("btd,vd->btv", tokens, table), self.config.vocabulary)
        return self.head(tokens)


def turns(length: int, head_width: int, base: float) -> jax.Array:
    """Float32 [2, T, H / 2]: cosine and sine of the angle by which each pair of features turns at each token.

    Pair i turns by base^(-2 i / H) from one token to the next (Su et al. 2021, section 3.2.2).
    """
    frequencies = base ** (-jnp.arange(0, head_width, 2, dtype=jnp.float32) / head_width)
    angles = jnp.arange(length, dtype=jnp.float32)[:, None] * frequencies
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)])


def rotated(heads: jax.Array, turn: jax.Array) -> jax.Array:
    """Heads [B, T, N, H] in their own dtype, feature i and i + H / 2 of each turned together, in float32.

    Args:
      turn: cosine and sine, as `turns` gives them.
    """
    first, second = jnp.split(heads.astype(jnp.float32), 2, axis=-1)
    cosine, sine = turn[:, :, None, :]
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(heads.dtype)


def validate(config: Config, sequence_length: int) -> None:
    """Nothing, or a UserError when the sequence has no tokens or more tokens than positions."""
    if not 1 <= sequence_length <= config.positions:
        raise UserError(
            f"sequence_length={sequence_length} does not fit this Llama's {config.positions} positions",
            allowed=f"1 to {config.positions}",
            fix=f"sequence_length={config.positions}",
        )


def attention_calls(config: Config, *, sequence_length: int) -> tuple[Calls, ...]:
    """The calls of attention in a forward pass."""
    return (Calls(config.depth, sequence_length, sequence_length, config.head_width),)


def first_layer_macs(config: Config, *, sequence_length: int) -> int:
    """0: the first layer is a look-up, and every matrix product needs both of its gradients."""
    return 0


def forward_macs(config: Config, *, sequence_length: int) -> int:
    """Multiply-adds of one sequence's forward pass; the embedding look-up and the rotation count 0.

    Each block costs T (2 D N H + 2 D K H + 3 D F) in its dense layers and 2 T^2 N H in attention, which
    counts in full as in `gpt2.forward_macs`; the head T D V. MaxText's calculate_tflops_training_per_device
    (maxtext_utils.py) counts the same, but half of attention in its later versions.

    >>> forward_macs(Config(), sequence_length=8192)
    79070347919360
    """
    width, tokens = config.width, sequence_length
    query_width, key_width = config.heads * config.head_width, config.key_heads * config.head_width
    dense_macs = tokens * width * (2 * query_width + 2 * key_width + 3 * config.mlp_width)
    attention_macs = 2 * tokens**2 * query_width
    return config.depth * (dense_macs + attention_macs) + tokens * width * config.vocabulary
