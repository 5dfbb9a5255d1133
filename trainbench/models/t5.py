"""T5 version 1.1, an encoder and a decoder (Raffel et al. 2020, arXiv:1910.10683; Shazeer 2020,
arXiv:2002.05202).

What is unusual:
- Beside the T5 of the paper: gated GELU, no dropout in pre-training, and a head that is not the token table.
  https://github.com/google-research/text-to-text-transfer-transformer/blob/main/released_checkpoints.md
- Positions are learned numbers added to the attention logits, one for each head and each of 32 ranges of
  distance. All blocks of the encoder share one set, all blocks of the decoder another.
- Logits are not divided by sqrt(H): the small initial queries stand for that.
- RMSNorm before each sublayer, no biases. All heads together may be narrower than the model (t5_small).
- Encoder and decoder look tokens up in one table, of 32,128 rows for 32,100 tokens.

Parameters, as released: small 76,961,152, base 247,577,856, large 783,150,080, xl 2,849,757,184,
xxl 11,135,332,352. Published training adds a loss on the softmax's normaliser (z-loss), which is not built.

Legend: B batch, T tokens of the encoder, U tokens of the decoder, D width, V vocabulary, N heads, H head
width, F feed-forward width, R ranges of distance.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from trainbench.errors import UserError
from trainbench.models.attention import Calls, attend, merge_heads, split_heads
from trainbench.models.blocks import make_blocks, run_blocks
from trainbench.models.distances import RANGES, distance_range
from trainbench.models.layers import (
    GatedFeedForward,
    Policy,
    by_sample,
    dense,
    rms_norm,
)
from trainbench.models.vocabulary import TokenHead, lengthened

TASK = "span_corruption"
BATCH_NORM = False
LIKE_BLOCKS = True

# Mesh TensorFlow and t5x.
NORM_EPSILON = 1e-6

# A token to keep, one to replace, and the end of the text.
LEAST_LENGTH = 3


@dataclass(frozen=True)
class Config:
    """One T5.

    Attributes:
      vocabulary: number of tokens (V).
      width: features of a token (D).
      depth: blocks of the encoder, and as many of the decoder.
      heads: attention heads (N).
      head_width: features of a head (H).
      mlp_width: hidden features of the feed-forward block (F).
    """

    vocabulary: int = 32128
    width: int = 768
    depth: int = 12
    heads: int = 12
    head_width: int = 64
    mlp_width: int = 2048


class Attention(nnx.Module):
    """Four dense layers around `attend`, initialised as Mesh TensorFlow does."""

    def __init__(self, config: Config, *, causal: bool = False, policy: Policy, rngs: nnx.Rngs) -> None:
        inner = config.heads * config.head_width

        def projection(inputs: int, outputs: int, variance: float) -> nnx.Linear:
            init = jax.nn.initializers.normal(variance**-0.5)
            return dense(inputs, outputs, kernel_init=init, use_bias=False, policy=policy, rngs=rngs)

        self.query = projection(config.width, inner, config.width * config.head_width)
        self.key = projection(config.width, inner, config.width)
        self.value = projection(config.width, inner, config.width)
        self.out = projection(inner, config.width, inner)
        self.heads = config.heads
        self.causal = causal
        self.backend = policy.levers.attention

    @jax.named_scope("attention")
    def __call__(
        self,
        inputs: jax.Array,
        sources: jax.Array,
        *,
        padding: jax.Array | None,
        bias: jax.Array | None,
        train: bool,
    ) -> jax.Array:
        """Mixed tokens [B, T, D]; keys and values are of `sources` [B, S, D], the rest as in `attend`."""
        attended = attend(
            split_heads(self.query(inputs), self.heads),
            split_heads(self.key(sources), self.heads),
            split_heads(self.value(sources), self.heads),
            train=train,
            causal=self.causal,
            padding=padding,
            bias=bias,
            scale=1.0,
            backend=self.backend,
        )
        return self.out(merge_heads(attended))


class EncoderBlock(nnx.Module):
    """Pre-norm block: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.attention_norm = rms_norm(config.width, epsilon=NORM_EPSILON, policy=policy, rngs=rngs)
        self.attention = Attention(config, policy=policy, rngs=rngs)
        self.mlp_norm = rms_norm(config.width, epsilon=NORM_EPSILON, policy=policy, rngs=rngs)
        self.mlp = _feed_forward(config, policy=policy, rngs=rngs)

    def __call__(self, tokens: jax.Array, bias: jax.Array, padding: jax.Array, *, train: bool) -> jax.Array:
        """Tokens [B, T, D]; `bias` and `padding` as in `attention.attend`."""
        normed = self.attention_norm(tokens)
        tokens = tokens + self.attention(normed, normed, padding=padding, bias=bias, train=train)
        return tokens + self.mlp(self.mlp_norm(tokens))


class DecoderBlock(nnx.Module):
    """As the encoder's, with attention over the encoded text between the two."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        norm = partial(rms_norm, config.width, epsilon=NORM_EPSILON, policy=policy, rngs=rngs)
        self.attention_norm = norm()
        self.attention = Attention(config, causal=True, policy=policy, rngs=rngs)
        self.cross_attention_norm = norm()
        self.cross_attention = Attention(config, policy=policy, rngs=rngs)
        self.mlp_norm = norm()
        self.mlp = _feed_forward(config, policy=policy, rngs=rngs)

    def __call__(
        self,
        tokens: jax.Array,
        bias: jax.Array,
        encoded: jax.Array,
        padding: jax.Array,
        *,
        train: bool,
    ) -> jax.Array:
        """Tokens [B, U, D], encoded text [B, T, D]; the rest as in `attention.attend`."""
        normed = self.attention_norm(tokens)
        tokens = tokens + self.attention(normed, normed, padding=None, bias=bias, train=train)
        normed = self.cross_attention_norm(tokens)
        tokens = tokens + self.cross_attention(normed, encoded, padding=padding, bias=None, train=train)
        return tokens + self.mlp(self.mlp_norm(tokens))


def _feed_forward(config: Config, *, policy: Policy, rngs: nnx.Rngs) -> GatedFeedForward:
    """With the tanh formula of GELU, as in Mesh TensorFlow."""
    return GatedFeedForward(
        config.width,
        config.mlp_width,
        activation=partial(jax.nn.gelu, approximate=True),
        kernel_init=jax.nn.initializers.normal(config.width**-0.5),
        out_init=jax.nn.initializers.normal(config.mlp_width**-0.5),
        policy=policy,
        rngs=rngs,
    )


class Stack(nnx.Module):
    """The blocks of one side, what they share about positions, and the norm after them."""

    def __init__(
        self, block: type[EncoderBlock | DecoderBlock], config: Config, *, policy: Policy, rngs: nnx.Rngs
    ) -> None:
        init = jax.nn.initializers.normal(config.width**-0.5)
        self.position_bias = nnx.Param(init(rngs.params(), (RANGES, config.heads), policy.param_dtype))
        self.blocks = make_blocks(partial(block, config, policy=policy, rngs=rngs), config.depth, policy)
        self.norm = rms_norm(config.width, epsilon=NORM_EPSILON, policy=policy, rngs=rngs)
        self.both_ways = block is EncoderBlock
        self.compute_dtype = policy.compute_dtype
        self.remat = policy.remat

    def __call__(self, tokens: jax.Array, *arrays: jax.Array, train: bool) -> jax.Array:
        """Normed tokens of tokens [B, T, D]; `arrays` are what the blocks take beside tokens and bias."""
        bias = self._bias(tokens.shape[1])
        tokens = run_blocks(self.blocks, tokens, bias, *arrays, remat=self.remat, train=train)
        return self.norm(tokens)

    def _bias(self, length: int) -> jax.Array:
        """Float32 [N, T, T], to be added to logits.

        A product with ones and zeros, as t5x has it, since the gradient of a gather is a scatter in which all
        pairs of tokens collide on 32 rows. It is a look-up and counts no FLOPs.
        """
        positions = jnp.arange(length)
        ranges = distance_range(positions - positions[:, None], both_ways=self.both_ways)
        chosen = jax.nn.one_hot(ranges, RANGES, dtype=self.compute_dtype)
        table = self.position_bias[...].astype(self.compute_dtype)
        return jnp.einsum("tsr,rn->nts", chosen, table).astype(jnp.float32)


class Model(nnx.Module):
    """T5 for predicting a text from another; parameter counts in the module's docstring."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        table = jax.nn.initializers.normal(1.0)
        token = table(rngs.params(), (config.vocabulary, config.width), policy.param_dtype)
        self.token = nnx.Param(lengthened(token, 0, policy))
        self.encoder = Stack(EncoderBlock, config, policy=policy, rngs=rngs)
        self.decoder = Stack(DecoderBlock, config, policy=policy, rngs=rngs)
        # As t5x: a truncated normal with the variance 1 / D.
        init = jax.nn.initializers.lecun_normal()
        self.head = TokenHead(config.width, config.vocabulary, kernel_init=init, policy=policy, rngs=rngs)
        self.compute_dtype = policy.compute_dtype

    def __call__(
        self,
        token_ids: jax.Array,
        *,
        padding_mask: jax.Array,
        decoder_ids: jax.Array,
        train: bool,
        rngs: nnx.Rngs | None = None,
    ) -> jax.Array:
        """Float32 logits [B, U, V] of the token after each of `decoder_ids`; `rngs` are not used.

        Args:
          token_ids: int32 [B, T], the text that is read.
          padding_mask: bool [B, T], True at real tokens; nothing attends to the others.
          decoder_ids: int32 [B, U], the text that is written, one token behind.
        """
        encoded = self.encoder(self._embedded(token_ids), padding_mask, train=train)
        written = self._embedded(decoder_ids)
        return self.head(self.decoder(written, encoded, padding_mask, train=train))

    def _embedded(self, ids: jax.Array) -> jax.Array:
        rows = by_sample(jnp.take(self.token[...], ids, axis=0, mode="clip"))
        return rows.astype(self.compute_dtype)


def validate(config: Config, sequence_length: int) -> None:
    """Nothing, or a UserError when the sequence is too short to replace a part of it; none is too long."""
    if sequence_length < LEAST_LENGTH:
        raise UserError(
            f"sequence_length={sequence_length} leaves nothing to replace beside the end of the text",
            allowed=f"at least {LEAST_LENGTH}",
            fix="sequence_length=512",
        )


def attention_calls(config: Config, *, sequence_length: int, target_length: int) -> tuple[Calls, ...]:
    """The calls of attention in a forward pass: in the encoder, the decoder, and from there to the text."""
    lengths = ((sequence_length, sequence_length), (target_length, target_length))
    own = (Calls(config.depth, *pair, config.head_width, biased=True) for pair in lengths)
    return (*own, Calls(config.depth, target_length, sequence_length, config.head_width))


def first_layer_macs(config: Config, *, sequence_length: int, target_length: int) -> int:
    """0: the first layer is a look-up, and every matrix product needs both of its gradients."""
    return 0


def forward_macs(config: Config, *, sequence_length: int, target_length: int) -> int:
    """Multiply-adds of one pair's forward pass; look-ups, of embeddings and of positions, count 0.

    An encoder block costs T (4 D N H + 3 D F) in its dense layers and 2 T^2 N H in attention, a decoder block
    U (6 D N H + 3 D F) + T 2 D N H and 2 U^2 N H + 2 U T N H, the head U D V. Attention counts in full.

    >>> forward_macs(Config(), sequence_length=512, target_length=114)
    70990700544
    """
    width, tokens, targets = config.width, sequence_length, target_length
    inner = config.heads * config.head_width
    encoder = tokens * width * (4 * inner + 3 * config.mlp_width) + 2 * tokens**2 * inner
    decoder = targets * width * (6 * inner + 3 * config.mlp_width) + tokens * 2 * width * inner
    decoder += 2 * targets * (targets + tokens) * inner
    return config.depth * (encoder + decoder) + targets * width * config.vocabulary
