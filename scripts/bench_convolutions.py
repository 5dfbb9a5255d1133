"""Every distinct convolution of ResNet-50 on this machine's CPU: GFLOP/s of each pass and way.

    python scripts/bench_convolutions.py            # batch 8
    python scripts/bench_convolutions.py 16

Ways take turns, `ROUNDS` times; printed is the rate of each one's median time, by the FLOPs of the layer's
own kernel, with the compiler options that trainbench sets. A dash stands where a way is not meant for a
layer, or the pass does not occur: no gradient flows on to the image.
"""

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import jax
import numpy as np

from trainbench.hardware.flags import compiler_options
from trainbench.models.convolutions import pointwise_product, space_to_depth_stem
from trainbench.models.resnet import IMAGE_CHANNELS, STEMS, Config, stage_shapes

ROUNDS = 7
IMAGE_SIZE = 224
DIMENSIONS = ("NHWC", "HWIO", "NHWC")
PASSES = ("forward", "to inputs", "to kernel")

Convolution = Callable[..., jax.Array]


@dataclass(frozen=True)
class Layer:
    """A square convolution: the side of its inputs in pixels, and its sizes."""

    size: int
    in_channels: int
    out_channels: int
    kernel: int
    stride: int

    @property
    def outputs(self) -> int:
        """The side of its outputs in pixels."""
        return -(-self.size // self.stride)

    def flops(self, batch: int) -> int:
        """2 for each multiply-add of one pass, padded taps included."""
        return 2 * batch * self.outputs**2 * self.kernel**2 * self.in_channels * self.out_channels

    def ways(self) -> dict[str, Convolution]:
        """XLA's convolution, and the other one if there is any."""
        ways: dict[str, Convolution] = {"convolution": jax.lax.conv_general_dilated}
        if self.kernel == 1:
            ways["other"] = pointwise_product
        elif (self.kernel, self.stride) == STEMS["imagenet"][:2]:
            ways["other"] = space_to_depth_stem
        return ways


def layers() -> Iterator[Layer]:
    """Those of ResNet-50, in order, with repetitions."""
    config = Config()
    kernel, stride, _ = STEMS[config.stem]
    yield Layer(IMAGE_SIZE, IMAGE_CHANNELS, config.width, kernel, stride)
    size = IMAGE_SIZE // 4
    for stage in stage_shapes(config):
        for shape in stage:
            inner, outer = shape.inner_channels, shape.out_channels
            yield Layer(size, shape.in_channels, inner, 1, 1)
            yield Layer(size, inner, inner, 3, shape.stride)
            if shape.has_projection:
                yield Layer(size, shape.in_channels, outer, 1, shape.stride)
            size //= shape.stride
            yield Layer(size, inner, outer, 1, 1)


def programs(layer: Layer, batch: int) -> dict[tuple[str, str], Callable[[], None]]:
    """By pass and way, a call of the compiled pass that returns once it is done."""
    random = np.random.default_rng(0)

    def array(*shape: int) -> jax.Array:
        return jax.device_put(random.normal(size=shape).astype(np.float32))

    inputs = array(batch, layer.size, layer.size, layer.in_channels)
    kernel = array(layer.kernel, layer.kernel, layer.in_channels, layer.out_channels)
    gradient = array(batch, layer.outputs, layer.outputs, layer.out_channels)
    options, _ = compiler_options("cpu", os.environ)
    found: dict[tuple[str, str], Callable[[], None]] = {}
    for way, convolution in layer.ways().items():
        for name, function in _passes(layer, convolution).items():
            compiled = jax.jit(function, compiler_options=options).lower(inputs, kernel, gradient).compile()
            found[name, way] = functools.partial(_call, compiled, inputs, kernel, gradient)
    return found


def _call(compiled: Callable[..., jax.Array], *arrays: jax.Array) -> None:
    jax.block_until_ready(compiled(*arrays))


def _passes(layer: Layer, convolution: Convolution) -> dict[str, Callable[..., jax.Array]]:
    edges = [(layer.kernel // 2, layer.kernel // 2)] * 2

    def forward(inputs: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        del gradient
        return convolution(inputs, kernel, (layer.stride,) * 2, edges, dimension_numbers=DIMENSIONS)

    def backward(operand: int) -> Callable[..., jax.Array]:
        def one(inputs: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
            _, pull = jax.vjp(lambda one, other: forward(one, other, gradient), inputs, kernel)
            back: jax.Array = pull(gradient)[operand]
            return back

        return one

    to_inputs = {} if layer.in_channels == IMAGE_CHANNELS else {"to inputs": backward(0)}
    return {"forward": forward, **to_inputs, "to kernel": backward(1)}


def rates(layer: Layer, batch: int) -> dict[tuple[str, str], float]:
    """GFLOP/s by pass and way."""
    calls = programs(layer, batch)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for number in range(ROUNDS + 1):
        for key, call in calls.items():
            start = time.perf_counter()
            call()
            if number:
                seconds[key].append(time.perf_counter() - start)
    return {key: layer.flops(batch) / median(taken) / 1e9 for key, taken in seconds.items()}


def main() -> None:
    """Print the table, a line for each layer as it is measured."""
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    print(
        f"float32, batch {batch}, GFLOP/s; each pass: convolution, and by 1x1 products or squares of pixels"
    )
    print(f"{'pixels':>6} {'kernel':>8} {'channels':>12} " + " ".join(f"{each:>17}" for each in PASSES))
    for layer in dict.fromkeys(layers()):
        found = rates(layer, batch)
        cells = [[found.get((each, way)) for way in ("convolution", "other")] for each in PASSES]
        text = " ".join(
            "".join(f"{cell:9.0f}" if cell else f"{'-':>9}" for cell in pair)[1:] for pair in cells
        )
        kernel = f"{layer.kernel}x{layer.kernel}/{layer.stride}"
        print(
            f"{layer.size:6} {kernel:>8} {layer.in_channels:>5} > {layer.out_channels:<4} {text}", flush=True
        )


if __name__ == "__main__":
    main()
