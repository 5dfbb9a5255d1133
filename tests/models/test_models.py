"""What every architecture must do: shapes, dtypes, running statistics, dropout. Tiny models only."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.building import (
    BFLOAT16,
    BFLOAT16_FULL,
    FLOAT32,
    abstract,
    build,
    family_and_config,
    find_products,
    random_images,
    random_pair,
    random_text,
)
from trainbench.models import FAMILIES, gpt2, llama, resnet, vit
from trainbench.models.distances import distance_range
from trainbench.models.layers import Policy

TINY = ["resnet_tiny", "vit_tiny", "bert_tiny", "gpt2_tiny", "llama_tiny", "t5_tiny"]
DECODERS = ["gpt2_tiny", "llama_tiny"]
POLICIES = [FLOAT32, BFLOAT16, BFLOAT16_FULL]


def one_block(name: str) -> dict[str, int]:
    """What makes the tiny model compile faster: one transformer block, of each kind that it has."""
    return {} if name == "resnet_tiny" else {"depth": 1}


def run_tiny(name: str, model: nnx.Module, *, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    """Logits of the tiny model on fixed inputs; running statistics move on inside the model."""
    if name == "bert_tiny":
        return run_bert(model, random_text(), None, train, rngs)
    if name == "t5_tiny":
        return run_t5(model, random_pair(), train, rngs)
    # Tokens and images are the only argument of the others.
    inputs = random_text()["token_ids"] if name in DECODERS else random_images(32)
    return run_model(model, inputs, train, rngs)


@nnx.jit(static_argnames="train")
def run_model(model: nnx.Module, inputs: jax.Array, train: bool, rngs: nnx.Rngs | None = None) -> jax.Array:
    return model(inputs, train=train, rngs=rngs)


@nnx.jit(static_argnames="train")
def run_t5(
    model: nnx.Module, pair: dict[str, jax.Array], train: bool = False, rngs: nnx.Rngs | None = None
) -> jax.Array:
    return model(**pair, train=train, rngs=rngs)


@nnx.jit(static_argnames="train")
def run_bert(
    model: nnx.Module,
    text: dict[str, jax.Array],
    positions: jax.Array | None,
    train: bool = False,
    rngs: nnx.Rngs | None = None,
) -> jax.Array:
    return model(**text, masked_positions=positions, train=train, rngs=rngs)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet_tiny", (2, 10)),
        ("vit_tiny", (2, 10)),
        ("bert_tiny", (2, 16, 1024)),
        ("gpt2_tiny", (2, 16, 1024)),
        ("llama_tiny", (2, 16, 1024)),
        ("t5_tiny", (2, 6, 1024)),
    ],
)
def test_logits_are_float32_under_every_policy(name, shape, policy):
    model = abstract(name, policy)
    logits = nnx.eval_shape(lambda model: run_tiny(name, model, train=True, rngs=nnx.Rngs(0)), model)
    assert (logits.shape, logits.dtype) == (shape, jnp.float32)
    assert dtypes_of(model, nnx.Param) == {jnp.dtype(policy.param_dtype)}
    assert dtypes_of(model, nnx.BatchStat) <= {jnp.dtype(jnp.float32)}


def dtypes_of(model: nnx.Module, kind: type[nnx.Variable]) -> set[jnp.dtype]:
    return {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model, kind))}


@pytest.mark.parametrize("name", TINY)
def test_a_fresh_model_is_finite_and_starts_near_chance(name):
    family, config = family_and_config(name)
    config = dataclasses.replace(config, **one_block(name))
    model = nnx.jit(lambda: family.Model(config, policy=BFLOAT16_FULL, rngs=nnx.Rngs(0)))()
    logits = run_tiny(name, model, train=True, rngs=nnx.Rngs(0))
    entropy = -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(-1).mean()
    # T5's head starts with logits of variance 1, which cost half a nat.
    chance = np.log(logits.shape[-1]) - (0.5 if name == "t5_tiny" else 0.0)
    np.testing.assert_allclose(entropy, chance, rtol=0.05)


@pytest.mark.parametrize("name", TINY)
def test_bfloat16_logits_are_close_to_float32(name):
    exact = run_tiny(name, build(name, FLOAT32, **one_block(name)), train=False)
    rounded = run_tiny(name, build(name, BFLOAT16, **one_block(name)), train=False)
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.05 * float(jnp.abs(exact).max()))


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_has_a_gradient(name):
    """Except the key bias: it adds the same number to all logits of a row, which the softmax ignores."""
    graph, params, rest = nnx.split(build(name, **one_block(name)), nnx.Param, ...)

    def loss(params: nnx.State) -> jax.Array:
        logits = run_tiny(name, nnx.merge(graph, params, rest, copy=True), train=True, rngs=nnx.Rngs(0))
        return jax.nn.logsumexp(logits, axis=-1).mean() - logits[..., 0].mean()

    unmoved = {
        "/".join(map(str, path))
        for path, gradient in nnx.to_flat_state(jax.jit(jax.grad(loss))(params))
        if path[-2:] != ("key", "bias") and not np.abs(gradient).max() > 0
    }
    assert unmoved == set()


@pytest.mark.parametrize("policy", [BFLOAT16, BFLOAT16_FULL])
@pytest.mark.parametrize("name", TINY)
def test_every_product_reads_bfloat16_in_both_passes(name, policy):
    graph, params, rest = nnx.split(build(name, policy), nnx.Param, ...)

    def loss(params: nnx.State) -> jax.Array:
        return run_tiny(name, nnx.merge(graph, params, rest, copy=True), train=True, rngs=nnx.Rngs(0)).var()

    products = list(find_products(jax.make_jaxpr(jax.grad(loss))(params)))
    assert len(products) > 10
    for equation in products:
        dtypes = {variable.aval.dtype for variable in equation.invars}
        assert dtypes == {jnp.dtype(jnp.bfloat16)}, equation


def test_training_moves_the_running_statistics_and_evaluation_does_not():
    model = build("resnet_tiny")
    before = jax.tree.leaves(nnx.state(model, nnx.BatchStat))
    run_tiny("resnet_tiny", model, train=False)
    for kept, leaf in zip(before, jax.tree.leaves(nnx.state(model, nnx.BatchStat)), strict=True):
        np.testing.assert_array_equal(kept, leaf)
    run_tiny("resnet_tiny", model, train=True)
    for kept, leaf in zip(before, jax.tree.leaves(nnx.state(model, nnx.BatchStat)), strict=True):
        assert not np.array_equal(kept, leaf)


@pytest.mark.parametrize("name", ["vit_tiny", "bert_tiny", "gpt2_tiny"])
def test_dropout_follows_its_key_and_is_off_in_evaluation(name):
    model = build(name, dropout_rate=0.3)
    first, again, other = (
        run_tiny(name, model, train=True, rngs=nnx.Rngs(dropout=seed)) for seed in (0, 0, 1)
    )
    evaluated = run_tiny(name, model, train=False)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, evaluated)
    np.testing.assert_array_equal(evaluated, run_tiny(name, model, train=False))


def test_training_with_dropout_needs_rngs():
    with pytest.raises(ValueError, match="rngs"):
        run_tiny("bert_tiny", build("bert_tiny"), train=True)


@pytest.mark.parametrize("name", ["resnet50", "vit_b16", "bert_base", "gpt2_124m", "llama_8b", "t5_base"])
def test_full_sizes_trace(name):
    model = abstract(name, BFLOAT16)
    graph, state = nnx.split(model)

    def forward(state: nnx.State, *inputs: jax.Array) -> jax.Array:
        built = nnx.merge(graph, state)
        if name == "bert_base":
            tokens, mask, positions = inputs
            return built(
                tokens,
                segment_ids=tokens,
                padding_mask=mask,
                masked_positions=positions,
                train=True,
                rngs=nnx.Rngs(0),
            )
        if name == "t5_base":
            tokens, mask, targets = inputs
            return built(tokens, padding_mask=mask, decoder_ids=targets, train=True)
        return built(*inputs, train=True)

    images = [jax.ShapeDtypeStruct((4, 224, 224, 3), jnp.uint8)]
    tokens = jax.ShapeDtypeStruct((4, 128), jnp.int32)
    text = [tokens, jax.ShapeDtypeStruct((4, 128), bool), jax.ShapeDtypeStruct((4, 20), jnp.int32)]
    long = [jax.ShapeDtypeStruct((4, 1024), jnp.int32)]
    inputs = {"bert_base": text, "t5_base": text, "gpt2_124m": long, "llama_8b": long}.get(name, images)
    shapes = {
        "bert_base": (4, 20, 30522),
        "t5_base": (4, 20, 32128),
        "gpt2_124m": (4, 1024, 50257),
        "llama_8b": (4, 1024, 128256),
    }
    logits = jax.eval_shape(forward, state, *inputs)
    assert logits.shape == shapes.get(name, (4, 1000))
    assert logits.dtype == jnp.float32


def test_resnet_starts_residual_branches_at_zero_when_asked():
    config = resnet.Config(block="bottleneck", depths=(1,), width=4, classes=2, zero_init_residual=True)
    model = resnet.Model(config, policy=FLOAT32, rngs=nnx.Rngs(0))
    block = model.stages[0][0]
    assert not np.asarray(block.norm3.scale[...]).any()
    assert np.asarray(block.norm2.scale[...]).all()


def test_resnet_v15_strides_in_the_3x3():
    block = abstract("resnet50").stages[1][0]
    assert (block.conv1.strides, block.conv2.strides, block.conv3.strides) == (1, 2, 1)


def test_vit_patches_are_cut_in_reading_order():
    images = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    patches = vit.split_patches(images, 2)
    assert patches.shape == (2, 6, 12)
    np.testing.assert_array_equal(patches[1, 4], images[1, 2:4, 2:4].reshape(-1))


def test_bert_heads_at_masked_positions_equal_the_full_heads_there():
    model = build("bert_tiny")
    positions = jnp.array([[0, 5, 15], [2, 3, 0]])
    gathered = run_bert(model, random_text(), positions)
    full = run_bert(model, random_text(), None)
    assert gathered.shape == (2, 3, 1024)
    expected = jnp.take_along_axis(full, positions[..., None], axis=1)
    np.testing.assert_allclose(gathered, expected, rtol=1e-5, atol=1e-6)


def test_bert_real_tokens_do_not_see_padding():
    model = build("bert_tiny")
    text = random_text()
    changed = {**text, "token_ids": jnp.where(text["padding_mask"], text["token_ids"], 7)}
    real = np.asarray(text["padding_mask"])
    before, after = (run_bert(model, inputs, None) for inputs in (text, changed))
    np.testing.assert_allclose(before[real], after[real], rtol=1e-5, atol=1e-6)
    assert not np.allclose(before[~real], after[~real])


def test_bert_segments_matter():
    model = build("bert_tiny")
    text = random_text()
    other = {**text, "segment_ids": 1 - text["segment_ids"]}
    assert not np.allclose(run_bert(model, text, None), run_bert(model, other, None))


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("position", [1, 7, 15])
def test_a_decoder_sees_nothing_of_later_tokens(name, position):
    model, tokens = build(name), random_text()["token_ids"]
    changed = tokens.at[:, position:].set((tokens[:, position:] + 1) % 1024)
    before, after = (run_model(model, ids, False) for ids in (tokens, changed))
    np.testing.assert_array_equal(before[:, :position], after[:, :position])
    assert not np.isclose(before[:, position:], after[:, position:]).all(-1).any()


@pytest.mark.parametrize("name", DECODERS)
def test_the_logits_of_a_decoder_depend_on_all_earlier_tokens_and_on_their_places(name):
    model, tokens = build(name), random_text()["token_ids"]
    last = run_model(model, tokens, False)[:, -1]
    for position in range(15):
        changed = tokens.at[:, position].set((tokens[:, position] + 1) % 1024)
        assert not np.allclose(run_model(model, changed, False)[:, -1], last)
    moved = tokens.at[:, 0].set(tokens[:, 1]).at[:, 1].set(tokens[:, 0])
    assert not np.allclose(run_model(model, moved, False)[:, -1], last)


def test_gpt2_starts_with_small_weights_and_smaller_ones_where_the_residual_stream_is_added_to():
    config = gpt2.Config(vocabulary=1024, width=128, depth=8, heads=2, positions=128)
    model = gpt2.Model(config, policy=FLOAT32, rngs=nnx.Rngs(0))
    deviation = {path: np.std(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    for path, found in deviation.items():
        if path[-1] in ("kernel", "token", "position"):
            residual = "out" in path or "down" in path
            np.testing.assert_allclose(found, 0.02 / 4 if residual else 0.02, rtol=0.03)
        else:
            assert found == 0


def test_only_distances_between_tokens_matter_to_a_rotation():
    alone = np.random.default_rng(0).normal(size=(2, 1, 1, 1, 32)).astype(np.float32)
    turn = llama.turns(9, 32, 100.0)
    query, key = jax.jit(llama.rotated)(np.repeat(alone, 9, axis=2).reshape(2, 9, 1, 32), turn)
    rows = np.einsum("tnh,snh->ts", query, key)
    for distance in range(-8, 9):
        along = np.diagonal(rows, distance)
        np.testing.assert_allclose(along, along[0], atol=1e-4)
    assert abs(rows[0, 0] - rows[0, 5]) > 0.1


def test_the_first_token_does_not_turn_and_no_token_changes_its_length():
    heads = np.random.default_rng(0).normal(size=(2, 9, 3, 32)).astype(np.float32)
    turned = np.asarray(jax.jit(llama.rotated)(heads, llama.turns(9, 32, 500000.0)))
    np.testing.assert_array_equal(turned[:, 0], heads[:, 0])
    np.testing.assert_allclose(np.square(turned).sum(-1), np.square(heads).sum(-1), rtol=1e-5)


def test_a_llama_may_predict_with_its_token_table():
    tied, apart = (abstract("llama_tiny", tied=tied) for tied in (True, False))
    assert not hasattr(tied, "head")
    assert apart.head.kernel.shape == (128, 1024)
    assert run_model(build("llama_tiny", tied=True), random_text()["token_ids"], False).shape == (2, 16, 1024)


def test_a_t5_writes_without_seeing_later_tokens_and_reads_all_of_the_text():
    model, pair = build("t5_tiny"), random_pair()
    before = run_t5(model, pair)
    for position in (1, 5):
        ids = pair["decoder_ids"].at[:, position].add(1) % 1024
        after = run_t5(model, {**pair, "decoder_ids": ids})
        np.testing.assert_array_equal(before[:, :position], after[:, :position])
        assert not np.isclose(before[:, position], after[:, position]).all(-1).any()
    for position in (0, 11):
        ids = pair["token_ids"].at[:, position].add(1) % 1024
        assert not np.isclose(before, run_t5(model, {**pair, "token_ids": ids})).all(-1).any()


def test_a_t5_sees_no_padding():
    model, pair = build("t5_tiny"), random_pair()
    changed = {**pair, "token_ids": jnp.where(pair["padding_mask"], pair["token_ids"], 7)}
    np.testing.assert_allclose(run_t5(model, pair), run_t5(model, changed), rtol=1e-5, atol=1e-6)
    assert not np.allclose(
        run_t5(model, pair), run_t5(model, {**pair, "padding_mask": jnp.ones((2, 16), bool)})
    )


@pytest.mark.parametrize("both_ways", [True, False])
def test_ranges_of_distance_are_all_used_and_grow_with_distance(both_ways):
    distances = jnp.arange(-300, 301)
    ranges = np.asarray(distance_range(distances, both_ways=both_ways))
    if both_ways:
        assert set(ranges[300:]) | set(ranges[:300]) == set(range(32)) - {16}
        np.testing.assert_array_equal(ranges[:300][::-1] + 16, ranges[301:])
    else:
        assert set(ranges) == set(range(32))
        assert not ranges[300:].any()
    assert (np.diff(ranges[:301]) <= 0).all()


def test_families_share_one_contract():
    tasks = {"image_classification", "masked_language_model", "causal_language_model", "span_corruption"}
    for family in FAMILIES.values():
        assert family.TASK in tasks
        for name in ("Config", "Model", "validate", "forward_macs", "first_layer_macs"):
            assert callable(getattr(family, name))


def test_policy_is_hashable_and_float32_by_default():
    assert hash(Policy()) == hash(FLOAT32)
    assert Policy().param_dtype == Policy().compute_dtype == jnp.float32
