"""BERT encoder with the masked-language-model head (Devlin et al. 2018, arXiv:1810.04805).

What is unusual:
- The head is computed at the masked positions only, as published pre-training does: 20 of 128 or 80 of 512.
- No pooler and no next-sentence head. Parameters, with the tied decoder counted once:

             encoder alone   with the masked-language-model head
      base     108,891,648       109,514,298
      large    334,092,288       335,174,458

Legend: B batch, T tokens, P predictions, D width, V vocabulary, S segments.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from trainbench.errors import UserError
from trainbench.models.attention import Calls, SelfAttention
from trainbench.models.blocks import make_blocks, run_blocks
from trainbench.models.dots import float32_einsum
from trainbench.models.layers import FeedForward, Policy, by_sample, dense, layer_norm
from trainbench.models.vocabulary import lengthened, of_tokens

TASK = "masked_language_model"
BATCH_NORM = False
LIKE_BLOCKS = True

# google-research/bert, modeling.py: initializer_range; TensorFlow's layer_norm epsilon.
INIT = jax.nn.initializers.truncated_normal(0.02)
LAYER_NORM_EPSILON = 1e-12

# google-research/bert README: max_predictions_per_seq is 20 for sequences of 128. The same share gives the 80
# at 512 of NVIDIA DeepLearningExamples' second phase. About 15 % of the tokens, rounded up.
PREDICTIONS_PER_128_TOKENS = 20


@dataclass(frozen=True)
class Config:
    """One BERT.

    Attributes:
      vocabulary: number of word pieces (V).
      width: features of a token (D).
      depth: number of blocks.
      heads: attention heads; divides the width.
      mlp_width: hidden features of the feed-forward block.
      positions: longest sequence that positions are learned for.
      segments: number of segment types (S).
      dropout_rate: on the embeddings, the attention probabilities and each block's two outputs.
    """

    vocabulary: int = 30522
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    positions: int = 512
    segments: int = 2
    dropout_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(
                f"BERT width {self.width} cannot be split over {self.heads} heads",
                allowed="a width that is a multiple of the heads",
            )


class Embeddings(nnx.Module):
    """Sum of token, position and segment embeddings, normalised; the token table is the decoder's too."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        token = INIT(rngs.params(), (config.vocabulary, config.width), policy.param_dtype)
        self.token = nnx.Param(lengthened(token, 0, policy))
        self.position = nnx.Param(INIT(rngs.params(), (config.positions, config.width), policy.param_dtype))
        self.segment = nnx.Param(INIT(rngs.params(), (config.segments, config.width), policy.param_dtype))
        self.norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout_rate)

    def __call__(
        self, token_ids: jax.Array, segment_ids: jax.Array, *, train: bool, rngs: nnx.Rngs | None
    ) -> jax.Array:
        """Embedded tokens [B, T, D] of ids [B, T]."""
        tokens = by_sample(jnp.take(self.token[...], token_ids, axis=0, mode="clip"))
        positions = self.position[: token_ids.shape[1]]
        summed = tokens + positions + select_rows(self.segment[...], segment_ids)
        return self.dropout(self.norm(summed), deterministic=not train, rngs=rngs)


def select_rows(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Rows [B, T, D] of a table of few rows [S, D].

    A masked sum over the rows, because the gradient of a gather is a scatter in which all tokens collide on
    two rows; google-research/bert avoids it by a one-hot product, which would count as FLOPs.
    """
    chosen = ids[..., None] == jnp.arange(table.shape[0])
    return jnp.sum(jnp.where(chosen[..., None], table, 0), axis=-2)


class Block(nnx.Module):
    """Post-norm encoder block: norm(x + attention(x)), then norm(x + feed_forward(x))."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.attention = SelfAttention(
            config.width,
            config.heads,
            dropout_rate=config.dropout_rate,
            kernel_init=INIT,
            policy=policy,
            rngs=rngs,
        )
        self.attention_norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.mlp = FeedForward(
            config.width,
            config.mlp_width,
            inner_dropout_rate=0.0,
            kernel_init=INIT,
            policy=policy,
            rngs=rngs,
        )
        self.mlp_norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout_rate)

    def __call__(
        self, tokens: jax.Array, padding: jax.Array, rngs: nnx.Rngs | None, *, train: bool
    ) -> jax.Array:
        """Tokens [B, T, D]; `padding` as in `attention.attend`."""
        mixed = self.attention(tokens, padding=padding, train=train, rngs=rngs)
        tokens = self.attention_norm(tokens + self.dropout(mixed, deterministic=not train, rngs=rngs))
        transformed = self.mlp(tokens, train=train, rngs=rngs)
        return self.mlp_norm(tokens + self.dropout(transformed, deterministic=not train, rngs=rngs))


class Head(nnx.Module):
    """Dense, GELU, norm, then the token table as decoder with a bias of its own."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.dense = dense(config.width, config.width, kernel_init=INIT, policy=policy, rngs=rngs)
        self.norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.bias = nnx.Param(lengthened(jnp.zeros((config.vocabulary,), policy.param_dtype), 0, policy))
        self.vocabulary = config.vocabulary

    @jax.named_scope("head")
    def __call__(self, tokens: jax.Array, token_table: jax.Array) -> jax.Array:
        """Float32 logits [B, P, V] of tokens [B, P, D]; `token_table` is [V, D]."""
        hidden = self.norm(jax.nn.gelu(self.dense(tokens), approximate=False))
        logits = float32_einsum("bpd,vd->bpv", hidden, token_table.astype(hidden.dtype))
        return of_tokens(logits + self.bias[...].astype(jnp.float32), self.vocabulary)


class Model(nnx.Module):
    """BERT for masked-language modelling; parameter counts in the module's docstring."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.embeddings = Embeddings(config, policy=policy, rngs=rngs)
        block = partial(Block, config, policy=policy, rngs=rngs)
        self.blocks = make_blocks(block, config.depth, policy)
        self.head = Head(config, policy=policy, rngs=rngs)
        self.remat = policy.remat

    def __call__(
        self,
        token_ids: jax.Array,
        *,
        segment_ids: jax.Array,
        padding_mask: jax.Array,
        masked_positions: jax.Array | None,
        train: bool,
        rngs: nnx.Rngs | None = None,
    ) -> jax.Array:
        """Float32 logits [B, P, V] at the masked positions, or [B, T, V] at all when none are given.

        Args:
          token_ids: int32 [B, T].
          segment_ids: int32 [B, T], below `config.segments`.
          padding_mask: bool [B, T], True at real tokens; nothing attends to the others.
          masked_positions: int32 [B, P], where the head is computed.
          rngs: needed in training with a dropout rate above 0.
        """
        tokens = self.embeddings(token_ids, segment_ids, train=train, rngs=rngs)
        tokens = run_blocks(self.blocks, tokens, padding_mask, rngs, remat=self.remat, train=train)
        if masked_positions is not None:
            tokens = jnp.take_along_axis(tokens, masked_positions[..., None], axis=1, mode="clip")
        return self.head(tokens, self.embeddings.token[...])


def predictions_per_sequence(sequence_length: int) -> int:
    """How many positions of a sequence carry a prediction (P).

    >>> [predictions_per_sequence(length) for length in (64, 128, 512)]
    [10, 20, 80]
    """
    return -(-sequence_length * PREDICTIONS_PER_128_TOKENS // 128)


def validate(config: Config, sequence_length: int) -> None:
    """Nothing, or a UserError when the sequence has no tokens or more tokens than positions."""
    if not 1 <= sequence_length <= config.positions:
        raise UserError(
            f"sequence_length={sequence_length} does not fit this BERT's {config.positions} positions",
            allowed=f"1 to {config.positions}",
            fix=f"sequence_length={config.positions}",
        )


def attention_calls(config: Config, *, sequence_length: int) -> tuple[Calls, ...]:
    """The calls of attention in a forward pass."""
    head_width, tokens = config.width // config.heads, sequence_length
    return (Calls(config.depth, tokens, tokens, head_width, dropout_rate=config.dropout_rate),)


def first_layer_macs(config: Config, *, sequence_length: int, predictions: int) -> int:
    """0: the first layer is a look-up, and every matrix product needs both of its gradients."""
    return 0


def forward_macs(config: Config, *, sequence_length: int, predictions: int) -> int:
    """Multiply-adds of one sequence's forward pass; the embedding look-up counts 0.

    Each block costs T (4 D^2 + 2 D F) in its dense layers, with F the feed-forward width, and 2 T^2 D in
    attention; the head costs P (D^2 + D V). With F = 4 D this is the forward part of Narayanan et al. 2021
    (arXiv:2104.04473, equation 3), 12 T depth D^2 (1 + T / 6 D) + P D V, plus the head's dense layer.
    BERT-Large's published 1.9e20 training FLOPs (Clark et al. 2020, arXiv:2003.10555) follow from it: see the
    tests.

    >>> large = Config(width=1024, depth=24, heads=16, mlp_width=4096)
    >>> [forward_macs(large, sequence_length=t, predictions=p) for t, p in ((128, 20), (512, 80))]
    [40106074112, 170087972864]
    """
    width, tokens = config.width, sequence_length
    dense_macs = tokens * (4 * width**2 + 2 * width * config.mlp_width)
    attention_macs = 2 * tokens**2 * width
    head_macs = predictions * (width**2 + width * config.vocabulary)
    return config.depth * (dense_macs + attention_macs) + head_macs
