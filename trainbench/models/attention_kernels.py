"""Attention by kernels that never hold all logits in memory (Dao et al. 2022, arXiv:2205.14135).

Legend as in `attention`. Both kernels accumulate logits in float32, as `attention.attend` does, and read and
write the compute dtype.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from trainbench.models.layers import BATCH_AXES

# The axis of a mesh that splits the heads.
HEAD_AXIS = "tensor"
# Lanes of a TPU's vector unit: the kernel's blocks are multiples of it.
LANES = 128
# Tokens of a block, at most, as MaxText sets them (base.yml, sa_block_q and the others).
LARGEST_BLOCK = 512


def cudnn(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    causal: bool,
    padding: jax.Array | None,
    bias: jax.Array | None,
    scale: float,
) -> jax.Array:
    """The attention output [B, T, N, H] by cuDNN's fused kernels, forward and backward; see `attend`.

    cuDNN takes the number of keys of a row that are real, so padding has to come after them, as in all data
    of trainbench.

    Raises:
      NotImplementedError: cuDNN has no kernel for these shapes or dtypes.
    """
    length, keys = query.shape[1], key.shape[1]
    # JAX asks for even lengths when it trains, with and without a bias.
    if padding is None and keys % 2:
        padding = jnp.ones((key.shape[0], keys), bool)
    lengths = None if padding is None else jnp.sum(padding, axis=-1, dtype=jnp.int32)
    if bias is not None:
        # It has to have four dimensions, of which the first two may be 1.
        bias = bias.reshape((1,) * (4 - bias.ndim) + bias.shape).astype(query.dtype)
        bias = _lengthened(_lengthened(bias, axis=2, multiple=2), axis=3, multiple=2)
    query, key, value = (_lengthened(heads, axis=1, multiple=2) for heads in (query, key, value))
    outputs = jax.nn.dot_product_attention(
        query,
        key,
        value,
        bias,
        scale=scale,
        is_causal=causal,
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )
    return outputs[:, :length]


def splash(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    causal: bool,
    padding: jax.Array | None,
    scale: float,
    interpret: bool = False,
) -> jax.Array:
    """The attention output [B, T, N, H] by JAX's kernel for TPUs, forward and backward; see `attend`.

    Lengths are padded to a multiple of the vector unit's lanes. Under a mesh each device runs the kernel on
    its own samples and heads: the compiler cannot split a kernel.

    Args:
      interpret: run the kernel's text by plain operations, on any device.
    """
    length, keys = query.shape[1], key.shape[1]
    if padding is None and keys % LANES:
        padding = jnp.ones((key.shape[0], keys), bool)
    if padding is not None:
        padding = _lengthened(padding, axis=1)
    query, key, value = (_lengthened(heads, axis=1) for heads in (query * scale, key, value))
    local = functools.partial(_splash_of_device, causal=causal, interpret=interpret)
    outputs = _on_each_device(local, padding is not None)(query, key, value, padding)
    return outputs[:, :length]


def _lengthened(array: jax.Array, axis: int, multiple: int = LANES) -> jax.Array:
    """The same with zeros, or False, up to a multiple of a length along one axis."""
    missing = -array.shape[axis] % multiple
    widths = [(0, missing if each == axis else 0) for each in range(array.ndim)]
    return jnp.pad(array, widths) if missing else array


def _on_each_device(local: Any, padded: bool) -> Any:
    """`local` over the context's mesh, each device for its own samples and heads."""
    if jax.sharding.get_abstract_mesh().empty:
        return local
    heads = PartitionSpec(BATCH_AXES, None, HEAD_AXIS, None)
    padding = PartitionSpec(BATCH_AXES, None) if padded else None
    # A kernel does not tell which of its results differ between devices.
    return jax.shard_map(local, in_specs=(heads, heads, heads, padding), out_specs=heads, check_vma=False)


def _splash_of_device(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    padding: jax.Array | None,
    *,
    causal: bool,
    interpret: bool,
) -> jax.Array:
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels

    shape = (query.shape[1], key.shape[1])
    mask = kernels.CausalMask(shape) if causal else kernels.FullMask(shape)
    attend = kernels.make_splash_mha(
        kernels.MultiHeadMask([mask] * query.shape[2]),
        block_sizes=_block_sizes(*shape),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    query, key, value = (jnp.swapaxes(heads, 1, 2) for heads in (query, key, value))
    if padding is None:
        outputs = jax.vmap(attend)(query, key, value)
    else:
        # Every query looks at the keys of segment 1, so queries of padding do as elsewhere.
        queries = jnp.ones((query.shape[0], shape[0]), jnp.int32)
        segments = kernels.SegmentIds(queries, padding.astype(jnp.int32))
        outputs = jax.vmap(attend)(query, key, value, segments)
    return jnp.swapaxes(outputs, 1, 2)


def _block_sizes(length: int, keys: int) -> Any:
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels

    query_block, key_block = _block(length), _block(keys)
    return kernels.BlockSizes(
        block_q=query_block,
        block_kv=key_block,
        block_q_dkv=query_block,
        block_kv_dkv=key_block,
        block_q_dq=query_block,
        block_kv_dq=key_block,
    )


def _block(length: int) -> int:
    """The longest block that divides a length, which is a multiple of `LANES`.

    >>> [_block(length) for length in (128, 256, 640, 768, 1024, 8192)]
    [128, 256, 128, 384, 512, 512]
    """
    return max(block for block in range(LANES, LARGEST_BLOCK + 1, LANES) if length % block == 0)
