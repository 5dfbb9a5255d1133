"""GPT-2, a decoder that predicts each next token (Radford et al. 2019, "Language Models are Unsupervised
Multitask Learners").

What is unusual:
- The output projection is the token table, so it has no bias and no parameters of its own. The table has
  the 50,257 tokens of the published model; llm.c and nanoGPT round it up to 50,304 rows, as
  vocabulary_multiple=128 does.
- Parameters equal the released models': 124,439,808, 354,823,168, 774,030,080 and 1,557,611,200. The paper
  calls them 117M, 345M, 762M and 1542M.
- Query, key and value are three dense layers, where the release stores them side by side as one.

Legend: B batch, T tokens, D width, V vocabulary.
"""

from dataclasses import dataclass
from functools import partial
from math import sqrt

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from trainbench.errors import UserError
from trainbench.models.attention import Calls, SelfAttention
from trainbench.models.blocks import make_blocks, run_blocks
from trainbench.models.dots import float32_einsum
from trainbench.models.layers import FeedForward, Policy, by_sample, layer_norm
from trainbench.models.vocabulary import lengthened, of_tokens

TASK = "causal_language_model"
BATCH_NORM = False
LIKE_BLOCKS = True

# openai/gpt-2, src/model.py: w_init_stdev and norm. Positions have 0.01 there; 0.02 in nanoGPT and llm.c.
STDDEV = 0.02
LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Config:
    """One GPT-2.

    Attributes:
      vocabulary: number of tokens (V).
      width: features of a token (D); the feed-forward block hides four times as many.
      depth: number of blocks.
      heads: attention heads; divides the width.
      positions: longest sequence that positions are learned for.
      dropout_rate: on the embeddings, the attention probabilities and each block's two outputs. The original
        GPT has 0.1 (Radford et al. 2018, section 4.1); the throughput figures of nanoGPT and llm.c drop
        nothing.
    """

    vocabulary: int = 50257
    width: int = 768
    depth: int = 12
    heads: int = 12
    positions: int = 1024
    dropout_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(
                f"GPT-2 width {self.width} cannot be split over {self.heads} heads",
                allowed="a width that is a multiple of the heads",
            )

    @property
    def mlp_width(self) -> int:
        """Hidden features of the feed-forward block."""
        return 4 * self.width


class Block(nnx.Module):
    """Pre-norm decoder block: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.attention_norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.attention = SelfAttention(
            config.width,
            config.heads,
            dropout_rate=config.dropout_rate,
            causal=True,
            kernel_init=jax.nn.initializers.normal(STDDEV),
            out_init=residual_init(config.depth),
            policy=policy,
            rngs=rngs,
        )
        self.mlp_norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.mlp = FeedForward(
            config.width,
            config.mlp_width,
            inner_dropout_rate=0.0,
            kernel_init=jax.nn.initializers.normal(STDDEV),
            out_init=residual_init(config.depth),
            approximate_gelu=True,
            policy=policy,
            rngs=rngs,
        )
        self.dropout = nnx.Dropout(config.dropout_rate)

    def __call__(self, tokens: jax.Array, rngs: nnx.Rngs | None, *, train: bool) -> jax.Array:
        """Tokens [B, T, D]."""
        mixed = self.attention(self.attention_norm(tokens), padding=None, train=train, rngs=rngs)
        tokens = tokens + self.dropout(mixed, deterministic=not train, rngs=rngs)
        transformed = self.mlp(self.mlp_norm(tokens), train=train, rngs=rngs)
        return tokens + self.dropout(transformed, deterministic=not train, rngs=rngs)


class Model(nnx.Module):
    """GPT-2 for next-token prediction; parameter counts in the module's docstring."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        init = jax.nn.initializers.normal(STDDEV)
        token = init(rngs.params(), (config.vocabulary, config.width), policy.param_dtype)
        self.token = nnx.Param(lengthened(token, 0, policy))
        self.vocabulary = config.vocabulary
        self.position = nnx.Param(init(rngs.params(), (config.positions, config.width), policy.param_dtype))
        self.dropout = nnx.Dropout(config.dropout_rate)
        block = partial(Block, config, policy=policy, rngs=rngs)
        self.blocks = make_blocks(block, config.depth, policy)
        self.norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.compute_dtype = policy.compute_dtype
        self.remat = policy.remat

    def __call__(self, token_ids: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Float32 logits [B, T, V] of the token after each of `token_ids`, int32 [B, T].

        `rngs` is needed only in training with a dropout rate above 0.
        """
        length = token_ids.shape[1]
        embedded = by_sample(jnp.take(self.token[...], token_ids, axis=0, mode="clip"))
        embedded = embedded + self.position[:length]
        tokens = self.dropout(embedded.astype(self.compute_dtype), deterministic=not train, rngs=rngs)
        tokens = run_blocks(self.blocks, tokens, rngs, remat=self.remat, train=train)
        table = self.token[...].astype(self.compute_dtype)
        return of_tokens(float32_einsum("btd,vd->btv", self.norm(tokens), table), self.vocabulary)


def residual_init(depth: int) -> Initializer:
    """For the layers that add to the residual stream: scaled by 1 / sqrt(their number), two a block.

    Radford et al. 2019, section 2.3: it keeps the stream from growing with depth.
    """
    return jax.nn.initializers.normal(STDDEV / sqrt(2 * depth))


def validate(config: Config, sequence_length: int) -> None:
    """Nothing, or a UserError when the sequence has no tokens or more tokens than positions."""
    if not 1 <= sequence_length <= config.positions:
        raise UserError(
            f"sequence_length={sequence_length} does not fit this GPT-2's {config.positions} positions",
            allowed=f"1 to {config.positions}",
            fix=f"sequence_length={config.positions}",
        )


def attention_calls(config: Config, *, sequence_length: int) -> tuple[Calls, ...]:
    """The calls of attention in a forward pass."""
    head_width, tokens = config.width // config.heads, sequence_length
    return (Calls(config.depth, tokens, tokens, head_width, dropout_rate=config.dropout_rate),)


def first_layer_macs(config: Config, *, sequence_length: int) -> int:
    """0: the first layer is a look-up, and every matrix product needs both of its gradients."""
    return 0


def forward_macs(config: Config, *, sequence_length: int) -> int:
    """Multiply-adds of one sequence's forward pass; the embedding look-up counts 0.

    Each block costs 12 T D^2 in its dense layers and 2 T^2 D in attention, the output projection T D V. That
    is the count of Chowdhery et al. 2022 (PaLM, arXiv:2204.02311, appendix B) and of nanoGPT's
    transformer_sizing.ipynb, which prints 291,648,307,200 forward FLOPs for the smallest model at 1024.

    Attention counts in full, as the program computes it. Counting only the half of it that the causal mask
    leaves would take depth T^2 D away: 6.6 % of the smallest model's figure below, 4.6 % of the largest's.

    >>> forward_macs(Config(), sequence_length=1024)
    145824153600
    >>> forward_macs(Config(width=1600, depth=48, heads=25), sequence_length=1024)
    1753351782400
    """
    width, tokens = config.width, sequence_length
    dense_macs = tokens * (4 * width**2 + 2 * width * config.mlp_width)
    attention_macs = 2 * tokens**2 * width
    return config.depth * (dense_macs + attention_macs) + tokens * width * config.vocabulary
