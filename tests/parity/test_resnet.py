"""Our ResNet v1.5 against Hugging Face's, with the same random weights, in float32."""

from typing import Any

import numpy as np
import pytest

from tests.parity import hugging_face, ours
from tests.parity.compare import assert_all_moved, assert_close, assert_same_outcome
from tests.parity.hugging_face import Twin
from tests.parity.optimizers import PAIR_NAMES, PAIRS
from tests.parity.weights import Arrays
from trainbench.models import resnet

pytestmark = pytest.mark.parity

BASIC = resnet.Config(block="basic", depths=(2, 2, 2, 2), width=8, classes=10)
BOTTLENECK = resnet.Config(block="bottleneck", depths=(2, 2, 2, 2), width=8, classes=10)
SMALL_STEM = resnet.Config(block="basic", depths=(1, 1, 1), width=16, classes=10, stem="small")
CLEAR = 1e-5  # distance from the nearest jump of the gradient; rounding reaches about 2e-6
CANDIDATES = 40  # random batches among which a clear one is sought


def make_batch(config: resnet.Config, image_size: int, batch: int, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    images = random.normal(size=(batch, image_size, image_size, 3)).astype(np.float32)
    return {"images": images, "labels": random.integers(0, config.classes, batch, dtype=np.int32)}


def to_torch(batch: Arrays) -> dict[str, Any]:
    return hugging_face.images_to_torch(batch["images"], batch["labels"])


def clear_start(config: resnet.Config, image_size: int, batch: int, *, train: bool) -> tuple[Twin, Arrays]:
    """A twin and a batch at which the gradient is smooth."""
    for seed in range(CANDIDATES):
        twin = hugging_face.resnet_twin(config)
        data = make_batch(config, image_size, batch, seed)
        hugging_face.move_away_from_zero(twin, to_torch(data), train=train)
        if hugging_face.clearance(twin, to_torch(data), train=train) > CLEAR:
            return twin, data
    raise AssertionError("no clear batch")


def clear_batch(twin: Twin, config: resnet.Config, step: int) -> Arrays:
    """A batch at which the gradient of the twin as it is now, in training, is smooth."""
    for seed in range(step * CANDIDATES, (step + 1) * CANDIDATES):
        data = make_batch(config, 33, 4, seed)
        if hugging_face.clearance(twin, to_torch(data), train=True) > CLEAR:
            return data
    raise AssertionError("no clear batch")


def compare_one_pass(config: resnet.Config, image_size: int, batch: int, *, train: bool) -> None:
    twin, data = clear_start(config, image_size, batch, train=train)
    before = hugging_face.state_of(twin)
    theirs = hugging_face.run_pass(twin, to_torch(data), train=train)
    model = ours.filled(resnet, config, before)
    assert_same_outcome(ours.run_pass(model, ours.image_loss, data, train=train), theirs)
    statistics = [path for path in before if path.endswith(("/mean", "/var"))]
    assert statistics
    for path in statistics:
        assert np.array_equal(theirs.state[path], before[path]) is not train


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("image_size", [64, 65, 97])
@pytest.mark.parametrize("config", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_one_pass(config, image_size, train):
    compare_one_pass(config, image_size, 4, train=train)


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("image_size", [32, 33])
def test_one_pass_of_the_small_stem(image_size, train):
    compare_one_pass(SMALL_STEM, image_size, 4, train=train)


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("image_size", [33, 64])
def test_one_pass_of_resnet50(image_size, train):
    compare_one_pass(resnet.Config(), image_size, 4, train=train)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
@pytest.mark.parametrize("config", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_five_steps(config, pair):
    twin = hugging_face.resnet_twin(config)
    before = hugging_face.state_of(twin)
    optimizer = pair.theirs(twin)
    batches = []
    for step in range(5):
        batches.append(clear_batch(twin, config, step))
        hugging_face.run_step(twin, optimizer, to_torch(batches[-1]))
    after = ours.run_steps(ours.filled(resnet, config, before), ours.image_loss, pair.ours, batches)
    assert_close(after, hugging_face.state_of(twin))
    assert_all_moved(before, after)
