"""Our Llama against Hugging Face's, with the same random weights, in float32."""

from dataclasses import replace

import numpy as np
import pytest

from tests.parity import hugging_face, ours
from tests.parity.compare import assert_all_moved, assert_close, assert_same_outcome
from tests.parity.optimizers import PAIR_NAMES, PAIRS
from tests.parity.weights import Arrays
from trainbench.models import llama

pytestmark = pytest.mark.parity

SCALED = llama.Config(
    vocabulary=211,
    width=48,
    depth=3,
    heads=6,
    key_heads=2,
    head_width=8,
    mlp_width=96,
    positions=40,
    rotary_base=10000.0,
)
# As MaxText's: heads with keys of their own, together wider than the model.
WIDE = replace(SCALED, key_heads=6, head_width=16)
# The blocks of Llama 3.2 1B and its tied head; fewer of them, and of its tokens.
RELEASED = llama.Config(
    vocabulary=4001,
    width=2048,
    depth=2,
    heads=32,
    head_width=64,
    mlp_width=8192,
    tied=True,
)


def make_batch(config: llama.Config, batch: int, length: int, seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    return {"token_ids": random.integers(0, config.vocabulary, (batch, length), dtype=np.int32)}


def to_torch(batch: Arrays) -> dict:
    return hugging_face.next_tokens_to_torch(batch["token_ids"])


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(
    ("config", "length"), [(SCALED, 33), (WIDE, 33), (RELEASED, 24)], ids=["scaled", "wide", "blocks of 1B"]
)
def test_one_pass(config, length, train):
    twin = hugging_face.llama_twin(config)
    model = ours.filled(llama, config, hugging_face.state_of(twin))
    batch = make_batch(config, 3, length)
    theirs = hugging_face.run_pass(twin, to_torch(batch), train=train)
    assert_same_outcome(ours.run_pass(model, ours.next_token_loss, batch, train=train), theirs)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
def test_five_steps(pair):
    twin = hugging_face.llama_twin(SCALED)
    before = hugging_face.state_of(twin)
    batches = [make_batch(SCALED, 8, 40, seed=seed) for seed in range(5)]
    after = ours.run_steps(ours.filled(llama, SCALED, before), ours.next_token_loss, pair.ours, batches)
    optimizer = pair.theirs(twin)
    for batch in batches:
        hugging_face.run_step(twin, optimizer, to_torch(batch))
    assert_close(after, hugging_face.state_of(twin))
    assert_all_moved(before, after)
