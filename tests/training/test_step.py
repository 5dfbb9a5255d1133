import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.building import TINY, shallow
from trainbench.data.synthetic import host_batch
from trainbench.training.step import key_of, make_evaluation, make_step, repeat


@pytest.mark.parametrize("model", TINY)
def test_loss_of_a_repeated_batch_falls(model):
    bench = shallow(model, "adamw")
    step, batch = bench.compiled_step, host_batch(bench.spec, 0)
    state, metrics = step(bench.first_state, batch)
    first = float(metrics["loss"])
    for _ in range(60):
        state, metrics = step(state, batch)
    assert float(metrics["loss"]) < 0.7 * first
    assert int(state.step) == 61


def test_running_statistics_follow_the_batch():
    bench = shallow("resnet_tiny")
    state = bench.first_state
    after, _ = bench.compiled_step(state, host_batch(bench.spec, 0))
    moved = [
        name for name in after.statistics if not np.allclose(after.statistics[name], state.statistics[name])
    ]
    assert len(moved) == len(state.statistics) > 0


def test_each_step_drops_other_units():
    bench = shallow("bert_tiny")
    state, batch = bench.first_state, host_batch(bench.spec, 0)
    losses = [
        float(bench.compiled_step(state._replace(step=jnp.asarray(number)), batch)[1]["loss"])
        for number in (0, 1, 0)
    ]
    assert losses[0] != losses[1]
    assert losses[0] == losses[2]


@pytest.mark.parametrize(("prng", "drawn"), [("threefry2x32", False), ("rbg", True)])
def test_dropout_draws_from_the_generator_that_is_asked_for(prng, drawn):
    bench = shallow("bert_tiny")
    step = make_step(bench.task, bench.structure, bench.optimizer, prng=prng)
    program = jax.jit(step).lower(bench.abstract_state, bench.abstract_batch).as_text()
    assert ("rng_bit_generator" in program) is drawn


@pytest.mark.parametrize("prng", ["threefry2x32", "rbg"])
def test_each_step_has_a_key_of_its_own_whatever_the_generator(prng):
    words = jax.random.key_data(jax.random.key(7))
    first, again, second = (
        jax.random.bernoulli(jax.random.fold_in(key_of(words, prng), number), shape=(256,))
        for number in (0, 0, 1)
    )
    assert (first == again).all()
    assert not (first == second).all()


# Running statistics, dropout, neither.
@pytest.mark.parametrize(
    ("model", "stacked"),
    [("resnet_tiny", True), ("resnet_tiny", False), ("bert_tiny", True), ("vit_tiny", False)],
)
def test_several_steps_in_one_call_equal_single_steps(model, stacked):
    bench = shallow(model)
    batches = [host_batch(bench.spec, seed if stacked else 0) for seed in range(3)]
    alone = state = bench.first_state
    for batch in batches:
        alone, metrics = bench.compiled_step(alone, batch)
    fed = (
        {name: np.stack([batch[name] for batch in batches]) for name in batches[0]} if stacked else batches[0]
    )
    together, last = jax.jit(repeat(bench.step, 3, stacked=stacked))(state, fed)
    np.testing.assert_allclose(last["loss"], metrics["loss"], rtol=2e-4)
    assert int(together.step) == 3
    for name, array in alone.params.items():
        np.testing.assert_allclose(together.params[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def test_one_step_per_call_adds_no_loop():
    bench = shallow("resnet_tiny")
    assert repeat(bench.step, 1, stacked=False).__name__ == "step"


@pytest.mark.parametrize("model", TINY)
def test_evaluation_counts_right_predictions(model):
    bench = shallow(model)
    state = bench.first_state
    evaluate = jax.jit(make_evaluation(bench.task, bench.structure))
    batch = host_batch(bench.spec, 0)
    labels = next(name for name in ("label", "masked_labels", "target_ids") if name in batch)
    predicted = _predictions(bench, state, batch)
    right = evaluate(state.params, state.statistics, {**batch, labels: predicted})
    assert int(right.right) == int(right.predictions) == predicted.size
    wrong = evaluate(state.params, state.statistics, {**batch, labels: (predicted + 1) % 10})
    assert (int(wrong.right), int(wrong.predictions)) == (0, predicted.size)
    assert float(wrong.loss) > float(right.loss) > 0


@pytest.mark.parametrize(
    ("model", "name"),
    [("bert_tiny", "masked_weights"), ("gpt2_tiny", "target_weights"), ("t5_tiny", "target_weights")],
)
def test_evaluation_leaves_out_what_is_not_to_be_predicted(model, name):
    bench = shallow(model)
    state = bench.first_state
    evaluate = jax.jit(make_evaluation(bench.task, bench.structure))
    batch = host_batch(bench.spec, 0)
    whole = evaluate(state.params, state.statistics, batch)
    weights = np.zeros_like(batch[name])
    weights[:, :3] = 1
    some = evaluate(state.params, state.statistics, {**batch, name: weights})
    assert int(some.predictions) == 3 * len(weights) < int(whole.predictions)
    assert float(some.loss) == pytest.approx(float(whole.loss) * 3 / weights.shape[1], rel=0.3)


def test_the_loss_of_a_causal_model_is_the_mean_over_the_targets_that_count():
    bench = shallow("gpt2_tiny")
    state, batch = bench.first_state, host_batch(bench.spec, 0)
    weights = (np.arange(64) < np.array([[64], [1], [30], [0]])).astype(np.float32)
    targets = np.where(weights > 0, batch["target_ids"], 7)

    def losses(params, statistics, batch):
        model = bench.structure.merge(params, statistics)
        shares = jax.nn.log_softmax(bench.task._logits(model, batch, train=True))
        chosen = jnp.take_along_axis(shares, batch["target_ids"][..., None], -1)[..., 0]
        return bench.task.loss(model, batch, nnx.Rngs(0))[0], chosen

    fed = {**batch, "target_ids": targets, "target_weights": weights}
    loss, chosen = jax.jit(losses)(state.params, state.statistics, fed)
    assert float(loss) == pytest.approx(-float(chosen[weights > 0].mean()), rel=1e-5)
    empty, _ = jax.jit(losses)(state.params, state.statistics, {**fed, "target_weights": 0 * weights})
    assert float(empty) == 0


def _predictions(bench, state, batch):
    def predict(params, statistics, batch):
        model = bench.structure.merge(params, statistics)
        logits = bench.task._logits(model, batch, train=False, rngs=None)
        return jnp.argmax(logits, -1)

    return np.asarray(jax.jit(predict)(state.params, state.statistics, batch))
