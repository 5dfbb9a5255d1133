"""Our T5 against Hugging Face's, with the same random weights, in float32."""

import numpy as np
import pytest

from tests.parity import hugging_face, ours
from tests.parity.compare import assert_all_moved, assert_close, assert_same_outcome
from tests.parity.optimizers import PAIR_NAMES, PAIRS
from tests.parity.weights import Arrays
from trainbench.models import t5

pytestmark = pytest.mark.parity

SCALED = t5.Config(vocabulary=211, width=48, depth=2, heads=3, head_width=8, mlp_width=96)
SMALL = t5.Config(width=512, depth=8, heads=6, mlp_width=1024)
# Longer than the 128 tokens from where on all distances are alike.
LONG = 160


def make_batch(config: t5.Config, batch: int, length: int, targets: int, seed: int = 0) -> Arrays:
    """Random pairs of texts, each with another number of padding tokens at its ends."""
    random = np.random.default_rng(seed)
    lengths = length - np.arange(batch) * length // (2 * batch)
    known = targets - np.arange(batch) * targets // (2 * batch)
    labels = random.integers(0, config.vocabulary, (batch, targets), dtype=np.int32)
    return {
        "token_ids": random.integers(0, config.vocabulary, (batch, length), dtype=np.int32),
        "padding_mask": np.arange(length) < lengths[:, None],
        "decoder_ids": random.integers(0, config.vocabulary, (batch, targets), dtype=np.int32),
        "labels": np.where(np.arange(targets) < known[:, None], labels, -1),
    }


def to_torch(batch: Arrays) -> dict:
    return hugging_face.pairs_to_torch(batch, batch["labels"])


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(
    ("config", "length", "targets"), [(SCALED, LONG, 150), (SMALL, 33, 9)], ids=["scaled", "t5_small"]
)
def test_one_pass_with_padding(config, length, targets, train):
    twin = hugging_face.t5_twin(config)
    model = ours.filled(t5, config, hugging_face.state_of(twin))
    batch = make_batch(config, 3, length, targets)
    assert not batch["padding_mask"].all()
    theirs = hugging_face.run_pass(twin, to_torch(batch), train=train)
    assert_same_outcome(ours.run_pass(model, ours.pair_loss, batch, train=train), theirs)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
def test_five_steps(pair):
    twin = hugging_face.t5_twin(SCALED)
    before = hugging_face.state_of(twin)
    batches = [make_batch(SCALED, 8, LONG, 150, seed=seed) for seed in range(5)]
    after = ours.run_steps(ours.filled(t5, SCALED, before), ours.pair_loss, pair.ours, batches)
    optimizer = pair.theirs(twin)
    for batch in batches:
        hugging_face.run_step(twin, optimizer, to_torch(batch))
    assert_close(after, hugging_face.state_of(twin))
    assert_all_moved(before, after)
