"""Our BERT against Hugging Face's, with the same random weights, in float32."""

from dataclasses import replace

import numpy as np
import pytest

from tests.parity import hugging_face, ours
from tests.parity.compare import assert_all_moved, assert_close, assert_same_outcome
from tests.parity.hugging_face import Outcome
from tests.parity.optimizers import PAIR_NAMES, PAIRS
from tests.parity.weights import Arrays
from trainbench.models import bert

pytestmark = pytest.mark.parity

SCALED = bert.Config(vocabulary=211, width=48, depth=3, heads=4, mlp_width=96, positions=40, dropout_rate=0.0)
BASE = bert.Config(dropout_rate=0.0)
PREDICTIONS = 5


def make_batch(config: bert.Config, batch: int, length: int, *, full_heads: bool, seed: int = 0) -> Arrays:
    """Random text, each sequence with another number of padding tokens at its end.

    With `full_heads` the labels [B, T] cover all real tokens, otherwise [B, P] some of them.
    """
    random = np.random.default_rng(seed)
    lengths = length - np.arange(batch) * length // (2 * batch)
    text = {
        "token_ids": random.integers(0, config.vocabulary, (batch, length), dtype=np.int32),
        "segment_ids": random.integers(0, config.segments, (batch, length), dtype=np.int32),
        "padding_mask": np.arange(length) < lengths[:, None],
    }
    labels = random.integers(0, config.vocabulary, (batch, length), dtype=np.int32)
    if full_heads:
        return text | {"labels": np.where(text["padding_mask"], labels, -1)}
    positions = [random.permutation(real)[:PREDICTIONS] for real in lengths]
    positions = np.asarray(positions, np.int32)
    return text | {"masked_positions": positions, "labels": np.take_along_axis(labels, positions, 1)}


def to_torch(batch: Arrays) -> dict:
    """Hugging Face's labels cover all positions, negative where nothing is predicted."""
    labels = batch["labels"]
    if "masked_positions" in batch:
        labels = np.full(batch["token_ids"].shape, -1)
        np.put_along_axis(labels, batch["masked_positions"], batch["labels"], 1)
    return hugging_face.text_to_torch(batch, labels)


def at_predictions(outcome: Outcome, batch: Arrays) -> Outcome:
    """The outcome with only the logits that our gathered head computes."""
    if "masked_positions" not in batch:
        return outcome
    positions = batch["masked_positions"][..., None]
    return replace(outcome, logits=np.take_along_axis(outcome.logits, positions, 1))


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("full_heads", [False, True], ids=["gathered heads", "full heads"])
@pytest.mark.parametrize(("config", "length"), [(SCALED, 33), (BASE, 24)], ids=["scaled", "bert_base"])
def test_one_pass_with_padding(config, length, full_heads, train):
    twin = hugging_face.bert_twin(config)
    model = ours.filled(bert, config, hugging_face.state_of(twin))
    batch = make_batch(config, 3, length, full_heads=full_heads)
    assert not batch["padding_mask"].all()
    theirs = at_predictions(hugging_face.run_pass(twin, to_torch(batch), train=train), batch)
    result = ours.run_pass(model, ours.text_loss, batch, train=train)
    assert_same_outcome(result, theirs)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
def test_five_steps(pair):
    twin = hugging_face.bert_twin(SCALED)
    before = hugging_face.state_of(twin)
    batches = [make_batch(SCALED, 8, 40, full_heads=False, seed=seed) for seed in range(5)]
    after = ours.run_steps(ours.filled(bert, SCALED, before), ours.text_loss, pair.ours, batches)
    optimizer = pair.theirs(twin)
    for batch in batches:
        hugging_face.run_step(twin, optimizer, to_torch(batch))
    assert_close(after, hugging_face.state_of(twin))
    assert_all_moved(before, after)
