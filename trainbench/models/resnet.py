"""ResNet v1.5 for image classification (He et al. 2015, arXiv:1512.03385), NHWC.

What is unusual:
- v1.5: a bottleneck that halves the image does so in its 3x3 convolution, not in its first 1x1. NVIDIA
  DeepLearningExamples and torchvision train this variant, and all published throughput figures mean it.
- Convolutions pad symmetrically, as PyTorch does; TensorFlow's SAME pads stride-2 layers on one side only and
  differs at even image sizes.

Legend: B batch, H height, W width, C channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from trainbench.errors import UserError
from trainbench.models.batch_norm import BatchNorm
from trainbench.models.convolutions import (
    POINTWISE_DOT,
    SPACE_TO_DEPTH,
    pointwise_product,
    space_to_depth_stem,
)
from trainbench.models.layers import Classifier, Policy, run_block
from trainbench.models.pooling import SLICES, max_pool_by_slices

TASK = "image_classification"
BATCH_NORM = True
LIKE_BLOCKS = False
IMAGE_CHANNELS = 3

# Output channels per inner channel of each kind of block (He et al. 2015, table 1).
EXPANSION = {"basic": 1, "bottleneck": 4}

# (kernel size, stride, halved again by a 3x3/2 max-pool). "small" is He's CIFAR stem (section 4.2).
STEMS = {"imagenet": (7, 2, True), "small": (3, 1, False)}

# He et al. 2015b (arXiv:1502.01852), fan-out mode as in torchvision: keeps the gradient's scale in depth.
CONV_INIT = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")


@dataclass(frozen=True)
class Config:
    """One ResNet.

    Attributes:
      block: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1).
      depths: blocks in each stage; every stage but the first halves the image and doubles the channels.
      width: channels of the stem and inner channels of the first stage.
      classes: number of classes.
      stem: "imagenet" (7x7 stride 2, then max-pool 3x3 stride 2) or "small" (3x3 stride 1, no pool).
      zero_init_residual: start each residual branch's last BatchNorm scale at 0 (Goyal et al. 2017). Off, the
        default of torchvision's ResNets; it changes no operation and so no speed.
    """

    block: str = "bottleneck"
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    classes: int = 1000
    stem: str = "imagenet"
    zero_init_residual: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        if self.block not in EXPANSION:
            raise UserError(f"ResNet block {self.block!r} is unknown", allowed=", ".join(EXPANSION))
        if self.stem not in STEMS:
            raise UserError(f"ResNet stem {self.stem!r} is unknown", allowed=", ".join(STEMS))


@dataclass(frozen=True)
class BlockShape:
    """Channels and stride of one residual block."""

    in_channels: int
    inner_channels: int
    out_channels: int
    stride: int

    @property
    def has_projection(self) -> bool:
        """Whether the shortcut needs a 1x1 convolution to match the branch's shape."""
        return self.stride != 1 or self.in_channels != self.out_channels


def stage_shapes(config: Config) -> list[list[BlockShape]]:
    """The shape of every block, stage by stage: the one description that the model and its MACs share."""
    stages = []
    in_channels = config.width
    for stage, depth in enumerate(config.depths):
        inner_channels = config.width * 2**stage
        out_channels = inner_channels * EXPANSION[config.block]
        blocks = []
        for position in range(depth):
            stride = 2 if stage > 0 and position == 0 else 1
            blocks.append(BlockShape(in_channels, inner_channels, out_channels, stride))
            in_channels = out_channels
        stages.append(blocks)
    return stages


def convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int, *, policy: Policy, rngs: nnx.Rngs
) -> nnx.Conv:
    """A square convolution without bias (the BatchNorm after it has one), padded by half its kernel.

    How it is computed is up to `policy.levers`; what, and its parameters, is the same.
    """
    lowering: Callable[..., jax.Array] = jax.lax.conv_general_dilated
    if kernel == 1 and policy.levers.convolution == POINTWISE_DOT:
        lowering = pointwise_product
    if (kernel, stride) == STEMS["imagenet"][:2] and policy.levers.stem == SPACE_TO_DEPTH:
        lowering = space_to_depth_stem
    return nnx.Conv(
        in_channels,
        out_channels,
        (kernel, kernel),
        strides=stride,
        padding=[(kernel // 2, kernel // 2)] * 2,
        use_bias=False,
        kernel_init=CONV_INIT,
        dtype=policy.compute_dtype,
        param_dtype=policy.param_dtype,
        conv_general_dilated=lowering,
        rngs=rngs,
    )


class Projection(nnx.Module):
    """The shortcut's 1x1 convolution and norm, where the block changes shape (option B of He et al.)."""

    def __init__(self, shape: BlockShape, *, policy: Policy, rngs: nnx.Rngs) -> None:
        self.conv = convolution(
            shape.in_channels, shape.out_channels, 1, shape.stride, policy=policy, rngs=rngs
        )
        self.norm = BatchNorm(shape.out_channels, policy=policy)

    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Projected inputs [B, H', W', C']."""
        return self.norm(self.conv(inputs), train=train)


class BasicBlock(nnx.Module):
    """relu(shortcut + norm(3x3(relu(norm(3x3 with the stride)))))."""

    def __init__(self, shape: BlockShape, *, last_scale: float, policy: Policy, rngs: nnx.Rngs) -> None:
        inner, outer = shape.inner_channels, shape.out_channels
        self.conv1 = convolution(shape.in_channels, inner, 3, shape.stride, policy=policy, rngs=rngs)
        self.norm1 = BatchNorm(inner, policy=policy)
        self.conv2 = convolution(inner, outer, 3, 1, policy=policy, rngs=rngs)
        self.norm2 = BatchNorm(outer, policy=policy, initial_scale=last_scale)
        self.shortcut = nnx.data(
            Projection(shape, policy=policy, rngs=rngs) if shape.has_projection else None
        )

    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Activations [B, H', W', C'] of inputs [B, H, W, C]."""
        branch = jax.nn.relu(self.norm1(self.conv1(inputs), train=train))
        branch = self.norm2(self.conv2(branch), train=train)
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs, train=train)
        return jax.nn.relu(branch + shortcut)


class BottleneckBlock(nnx.Module):
    """relu(shortcut + norm(1x1(relu(norm(3x3 with the stride(relu(norm(1x1)))))))): the v1.5 order."""

    def __init__(self, shape: BlockShape, *, last_scale: float, policy: Policy, rngs: nnx.Rngs) -> None:
        inner, outer = shape.inner_channels, shape.out_channels
        self.conv1 = convolution(shape.in_channels, inner, 1, 1, policy=policy, rngs=rngs)
        self.norm1 = BatchNorm(inner, policy=policy)
        self.conv2 = convolution(inner, inner, 3, shape.stride, policy=policy, rngs=rngs)
        self.norm2 = BatchNorm(inner, policy=policy)
        self.conv3 = convolution(inner, outer, 1, 1, policy=policy, rngs=rngs)
        self.norm3 = BatchNorm(outer, policy=policy, initial_scale=last_scale)
        self.shortcut = nnx.data(
            Projection(shape, policy=policy, rngs=rngs) if shape.has_projection else None
        )

    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        """Activations [B, H', W', C'] of inputs [B, H, W, C]."""
        branch = jax.nn.relu(self.norm1(self.conv1(inputs), train=train))
        branch = jax.nn.relu(self.norm2(self.conv2(branch), train=train))
        branch = self.norm3(self.conv3(branch), train=train)
        shortcut = inputs if self.shortcut is None else self.shortcut(inputs, train=train)
        return jax.nn.relu(branch + shortcut)


def max_pool_by_windows(inputs: jax.Array) -> jax.Array:
    """The largest of each 3x3 window of stride 2, padded by one pixel: [B, ceil(H / 2), ceil(W / 2), C]."""
    return nnx.max_pool(inputs, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


BLOCKS = {"basic": BasicBlock, "bottleneck": BottleneckBlock}


class Model(nnx.Module):
    """ResNet v1.5; parameters equal torchvision's counts (ResNet-50: 25,557,032)."""

    def __init__(self, config: Config, *, policy: Policy, rngs: nnx.Rngs) -> None:
        kernel, stride, self.has_pool = STEMS[config.stem]
        self.stem_conv = convolution(IMAGE_CHANNELS, config.width, kernel, stride, policy=policy, rngs=rngs)
        self.stem_norm = BatchNorm(config.width, policy=policy)
        last_scale = 0.0 if config.zero_init_residual else 1.0
        block = BLOCKS[config.block]
        shapes = stage_shapes(config)
        self.stages = nnx.List(
            nnx.List(block(shape, last_scale=last_scale, policy=policy, rngs=rngs) for shape in stage)
            for stage in shapes
        )
        self.head = Classifier(shapes[-1][-1].out_channels, config.classes, policy=policy, rngs=rngs)
        self.compute_dtype = policy.compute_dtype
        self.remat = policy.remat
        self.pool = max_pool_by_slices if policy.levers.max_pool == SLICES else max_pool_by_windows

    def __call__(self, images: jax.Array, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Float32 logits [B, classes] of normalised images [B, H, W, 3]; `rngs` is unused (no dropout)."""
        features = self.stem_conv(images.astype(self.compute_dtype))
        features = jax.nn.relu(self.stem_norm(features, train=train))
        if self.has_pool:
            features = self.pool(features)
        for number, stage in enumerate(self.stages, start=1):
            with jax.named_scope(f"stage{number}"):
                for block in stage:
                    features = run_block(block, features, remat=self.remat, train=train)
        return self.head(jnp.mean(features, axis=(1, 2)))


def total_stride(config: Config) -> int:
    """Input pixels per output cell along one side."""
    _, stem_stride, has_pool = STEMS[config.stem]
    return stem_stride * (2 if has_pool else 1) * 2 ** (len(config.depths) - 1)


def validate(config: Config, image_size: int) -> None:
    """Nothing, or a UserError when the image does not fill one cell of the last feature map."""
    smallest = total_stride(config)
    if image_size < smallest:
        raise UserError(
            f"image_size={image_size} is too small for this ResNet, which reduces images {smallest} times",
            allowed=f"image_size >= {smallest}",
            fix=f"image_size={smallest}",
        )


def attention_calls(config: Config, *, image_size: int) -> tuple[()]:
    """None: it has no attention."""
    del config, image_size
    return ()


def first_layer_macs(config: Config, *, image_size: int) -> int:
    """Multiply-adds of the stem convolution for one image: no gradient flows on to the image itself."""
    kernel, stride, _ = STEMS[config.stem]
    return kernel**2 * IMAGE_CHANNELS * config.width * _reduced(image_size, stride) ** 2


def forward_macs(config: Config, *, image_size: int) -> int:
    """Multiply-adds of one image's forward pass: convolutions, padded taps included, and the head.

    Agrees with torchvision's published figures at 224: ResNet-18 1.81, 34 3.66, 50 4.09, 101 7.80, 152 11.51
    billion (https://docs.pytorch.org/vision/stable/models.html).

    >>> forward_macs(Config(), image_size=224)
    4089184256
    """
    shapes = stage_shapes(config)
    convolutions = first_layer_macs(config, image_size=image_size)
    convolutions += sum(_block_macs(config.block, *sized) for sized in _sized_blocks(config, image_size))
    return convolutions + shapes[-1][-1].out_channels * config.classes


def _reduced(size: int, stride: int) -> int:
    """The side of a stride-`stride` layer's output: with symmetric half-kernel padding, size / stride up."""
    return -(-size // stride)


def _sized_blocks(config: Config, image_size: int) -> Iterator[tuple[BlockShape, int]]:
    """Every block with the side of its input in pixels."""
    _, stem_stride, has_pool = STEMS[config.stem]
    size = _reduced(image_size, stem_stride)
    size = _reduced(size, 2) if has_pool else size
    for stage in stage_shapes(config):
        for shape in stage:
            yield shape, size
            size = _reduced(size, shape.stride)


def _block_macs(block: str, shape: BlockShape, in_size: int) -> int:
    inner, outer = shape.inner_channels, shape.out_channels
    in_pixels, out_pixels = in_size**2, _reduced(in_size, shape.stride) ** 2
    if block == "basic":
        branch = 9 * inner * (shape.in_channels + outer) * out_pixels
    else:
        branch = shape.in_channels * inner * in_pixels + (9 * inner + outer) * inner * out_pixels
    projection = shape.in_channels * outer * out_pixels if shape.has_projection else 0
    return branch + projection
