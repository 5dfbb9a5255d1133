"""Our ViT against Hugging Face's, with the same random weights, in float32."""

import numpy as np
import pytest

from tests.parity import hugging_face, ours
from tests.parity.compare import assert_all_moved, assert_close, assert_same_outcome
from tests.parity.optimizers import PAIR_NAMES, PAIRS
from tests.parity.weights import Arrays
from trainbench.models import vit

pytestmark = pytest.mark.parity

SCALED = vit.Config(patch=8, width=48, depth=3, heads=4, mlp_width=96, classes=10, image_size=40)


def make_batch(config: vit.Config, batch: int, seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    images = random.normal(size=(batch, config.image_size, config.image_size, 3)).astype(np.float32)
    return {"images": images, "labels": random.integers(0, config.classes, batch, dtype=np.int32)}


def to_torch(batch: Arrays) -> dict:
    return hugging_face.images_to_torch(batch["images"], batch["labels"])


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(("config", "batch"), [(SCALED, 8), (vit.Config(), 2)], ids=["scaled", "vit_b16"])
def test_one_pass(config, batch, train):
    twin = hugging_face.vit_twin(config)
    model = ours.filled(vit, config, hugging_face.state_of(twin))
    data = make_batch(config, batch)
    theirs = hugging_face.run_pass(twin, to_torch(data), train=train)
    result = ours.run_pass(model, ours.image_loss, data, train=train)
    assert_same_outcome(result, theirs)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
def test_five_steps(pair):
    twin = hugging_face.vit_twin(SCALED)
    before = hugging_face.state_of(twin)
    batches = [make_batch(SCALED, 16, seed) for seed in range(5)]
    after = ours.run_steps(ours.filled(vit, SCALED, before), ours.image_loss, pair.ours, batches)
    optimizer = pair.theirs(twin)
    for batch in batches:
        hugging_face.run_step(twin, optimizer, to_torch(batch))
    assert_close(after, hugging_face.state_of(twin))
    assert_all_moved(before, after)
