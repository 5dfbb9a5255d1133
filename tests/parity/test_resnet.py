"""Our ResNet v1.5 against Hugging Face's, with the same random weights, in float32."""

from collections.abc import Iterable
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
CANDIDATES = 12  # batches to choose from; with fewer, the clearest can be at the edge of rounding


def make_batch(config: resnet.Config, image_size: int, batch: int, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    images = random.normal(size=(batch, image_size, image_size, 3)).astype(np.float32)
    return {"images": images, "labels": random.integers(0, config.classes, batch, dtype=np.int32)}


def to_torch(batch: Arrays) -> dict[str, Any]:
    return hugging_face.images_to_torch(batch["images"], batch["labels"])


def clearest(twin: Twin, batches: Iterable[Arrays], *, train: bool) -> Arrays:
    """The batch that keeps all ReLU inputs furthest from 0, where the gradient jumps."""

    def clearance(batch: Arrays) -> float:
        return hugging_face.clearance(twin, to_torch(batch), train=train)

    return max(batches, key=clearance)


def compare_one_pass(config: resnet.Config, image_size: int, batch: int, *, train: bool) -> None:
    twin = hugging_face.resnet_twin(config)
    before = hugging_face.state_of(twin)
    candidates = (make_batch(config, image_size, batch, seed) for seed in range(CANDIDATES))
    data = clearest(twin, candidates, train=train)
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
    compare_one_pass(resnet.Config(), image_size, 2, train=train)


@pytest.mark.parametrize("pair", PAIRS, ids=PAIR_NAMES)
@pytest.mark.parametrize("config", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_five_steps(config, pair):
    twin = hugging_face.resnet_twin(config)
    before = hugging_face.state_of(twin)
    optimizer = pair.theirs(twin)
    batches = []
    for step in range(5):
        seeds = range(step * CANDIDATES, (step + 1) * CANDIDATES)
        batches.append(clearest(twin, (make_batch(config, 33, 4, seed) for seed in seeds), train=True))
        hugging_face.run_step(twin, optimizer, to_torch(batches[-1]))
    after = ours.run_steps(ours.filled(resnet, config, before), ours.image_loss, pair.ours, batches)
    assert_close(after, hugging_face.state_of(twin))
    assert_all_moved(before, after)
