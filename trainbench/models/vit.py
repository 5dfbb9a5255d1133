"""Vision Transformer for image classification (Dosovitskiy et al. 2021, arXiv:2010.11929).

What is unusual:
- The patch embedding is a reshape and a matrix product: exactly the paper's convolution whose stride is its
  kernel, without the dilated convolution that its gradient would be.
- Layers are initialised as in google-research/vision_transformer: Xavier-uniform kernels, zero biases,
  positions normal with deviation 0.02, class token zero. The head starts small rather than at zero, so that
  the first step's gradients already reach every layer.
- The MLP biases, normal with deviation 1e-6 there, are zero here.

Legend: B batch, P patches, T = P + 1 tokens, D width.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from trainbench.errors import UserError
from trainbench.models.attention import Calls, SelfAttention
from trainbench.models.blocks import make_blocks, run_blocks
from trainbench.models.layers import Classifier, FeedForward, Policy, dense, layer_norm

TASK = "image_classification"
BATCH_NORM = False
LIKE_BLOCKS = True
IMAGE_CHANNELS = 3

# google-research/vision_transformer, vit_jax/models_vit.py.
LAYER_NORM_EPSILON = 1e-6
POSITION_STDDEV = 0.02
KERNEL_INIT = jax.nn.initializers.xavier_uniform()
PATCH_INIT = jax.nn.initializers.lecun_normal()


@dataclass(frozen=True)
class Config:
    """One ViT.

    Attributes:
      patch: side of a patch in pixels.
      width: features of a token (D).
      depth: number of blocks.
      heads: attention heads; divides the width.
      mlp_width: hidden features of the feed-forward block.
      classes: number of classes.
      image_size: side of the image in pixels that the positions are learned for.
      dropout_rate: after every dense layer except query, key and value, and after adding the positions
        (appendix B.1); the paper's ImageNet-only runs use 0.1, throughput benchmarks 0.
    """

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    classes: int = 1000
    image_size: int = 224
    dropout_rate: float = 0.0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise UserError(
                f"ViT width {self.width} cannot be split over {self.heads} heads",
                allowed="a width that is a multiple of the heads",
            )

    @property
    def patches(self) -> int:
        """Number of patches of an image of `image_size`."""
        return (self.image_size // self.patch) ** 2


class Block(nnx.Module):
    """Pre-norm encoder block: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.attention_norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        # No dropout on probabilities: attention_dropout_rate is 0 in all of the reference's configurations.
        self.attention = SelfAttention(
            config.width, config.heads, dropout_rate=0.0, kernel_init=KERNEL_INIT, policy=policy, rngs=rngs
        )
        self.mlp_norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.mlp = FeedForward(
            config.width,
            config.mlp_width,
            inner_dropout_rate=config.dropout_rate,
            kernel_init=KERNEL_INIT,
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
    """ViT with class token and learned positions; parameters equal the published count (B/16: 86,567,656)."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        patch_features = config.patch**2 * IMAGE_CHANNELS
        self.patch_embedding = dense(
            patch_features, config.width, kernel_init=PATCH_INIT, policy=policy, rngs=rngs
        )
        self.class_token = nnx.Param(jnp.zeros((1, 1, config.width), policy.param_dtype))
        position_shape = (1, config.patches + 1, config.width)
        position_init = jax.nn.initializers.normal(POSITION_STDDEV)
        self.position_embedding = nnx.Param(position_init(rngs.params(), position_shape, policy.param_dtype))
        self.dropout = nnx.Dropout(config.dropout_rate)
        block = partial(Block, config, policy=policy, rngs=rngs)
        self.blocks = make_blocks(block, config.depth, policy)
        self.norm = layer_norm(config.width, epsilon=LAYER_NORM_EPSILON, policy=policy, rngs=rngs)
        self.head = Classifier(config.width, config.classes, policy=policy, rngs=rngs)
        self.patch = config.patch
        self.compute_dtype = policy.compute_dtype
        self.remat = policy.remat

    def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Float32 logits [B, classes] of normalised images [B, H, W, 3], H = W = config.image_size.

        `rngs` is needed only in training with a dropout rate above 0.
        """
        tokens = self._embed(images.astype(self.compute_dtype))
        tokens = self.dropout(tokens, deterministic=not train, rngs=rngs)
        tokens = run_blocks(self.blocks, tokens, rngs, remat=self.remat, train=train)
        # Only the class token is read, so only it is normalised.
        return self.head(self.norm(tokens[:, 0]))

    def _embed(self, images: jax.Array) -> jax.Array:
        """Tokens [B, T, D]: the class token, then the patches in reading order, positions added."""
        patches = self.patch_embedding(split_patches(images, self.patch))
        class_token = self.class_token[...].astype(self.compute_dtype)
        class_tokens = jnp.broadcast_to(class_token, (patches.shape[0], 1, patches.shape[2]))
        tokens = jnp.concatenate([class_tokens, patches], axis=1)
        return tokens + self.position_embedding[...].astype(self.compute_dtype)


def split_patches(images: jax.Array, patch: int) -> jax.Array:
    """Patches [B, P, patch x patch x C] in reading order of images [B, H, W, C]; pixels row by row."""
    batch, height, width, channels = images.shape
    rows, columns = height // patch, width // patch
    tiles = images.reshape(batch, rows, patch, columns, patch, channels).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(batch, rows * columns, patch * patch * channels)


def validate(config: Config, image_size: int) -> None:
    """Nothing, or a UserError when the image cannot be cut into whole patches."""
    if image_size < config.patch or image_size % config.patch:
        nearest_size = max(1, round(image_size / config.patch)) * config.patch
        raise UserError(
            f"image_size={image_size} is not a multiple of this ViT's patch of {config.patch} pixels",
            allowed=f"multiples of {config.patch}",
            fix=f"image_size={nearest_size}",
        )


def attention_calls(config: Config, *, image_size: int) -> tuple[Calls, ...]:
    """The calls of attention in a forward pass."""
    tokens = (image_size // config.patch) ** 2 + 1
    return (Calls(config.depth, tokens, tokens, config.width // config.heads),)


def first_layer_macs(config: Config, *, image_size: int) -> int:
    """Multiply-adds of the patch embedding for one image: no gradient flows on to the image itself."""
    return image_size**2 * IMAGE_CHANNELS * config.width


def forward_macs(config: Config, *, image_size: int) -> int:
    """Multiply-adds of one image's forward pass.

    With P patches, T = P + 1 tokens and feed-forward width F, each block costs T (4 D^2 + 2 D F) in its dense
    layers and 2 T^2 D in attention (logits and weighted sum, counted full); then the patch embedding and the
    head on one token. Published at 224: B/16 17.56 and L/16 61.55 billion
    (https://docs.pytorch.org/vision/stable/models.html), Ti/16 1.3 and S/16 4.6 (as DeiT in Wang et al. 2021,
    arXiv:2102.12122).

    >>> forward_macs(Config(), image_size=224)
    17563828224
    """
    tokens = (image_size // config.patch) ** 2 + 1
    dense_macs = tokens * (4 * config.width**2 + 2 * config.width * config.mlp_width)
    attention_macs = 2 * tokens**2 * config.width
    blocks = config.depth * (dense_macs + attention_macs)
    return blocks + first_layer_macs(config, image_size=image_size) + config.width * config.classes
