"""Our ResNet v1.5 against Hugging Face's, with the same random weights, in float32."""

import numpy as np
import optax
import pytest

from tests.parity import hugging_face, ours
from tests.parity.compare import assert_all_moved, assert_close, assert_same_outcome
from tests.parity.weights import Arrays
from trainbench.models import resnet

pytestmark = pytest.mark.parity

BASIC = resnet.Config(block="basic", depths=(2, 2, 2, 2), width=8, classes=10)
BOTTLENECK = resnet.Config(block="bottleneck", depths=(2, 2, 2, 2), width=8, classes=10)
SMALL_STEM = resnet.Config(block="basic", depths=(1, 1, 1), width=16, classes=10, stem="small")


def make_batch(config: resnet.Config, image_size: int, batch: int, seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    images = random.normal(size=(batch, image_size, image_size, 3)).astype(np.float32)
    return {"images": images, "labels": random.integers(0, config.classes, batch, dtype=np.int32)}


def compare_one_pass(config: resnet.Config, image_size: int, batch: int, *, train: bool) -> None:
    twin = hugging_face.resnet_twin(config)
    before = hugging_face.state_of(twin)
    data = make_batch(config, image_size, batch)
    theirs = hugging_face.run_pass(
        twin, hugging_face.images_to_torch(data["images"], data["labels"]), train=train
    )
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
    compare_one_pass(config, image_size, 8, train=train)


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("image_size", [32, 33])
def test_one_pass_of_the_small_stem(image_size, train):
    compare_one_pass(SMALL_STEM, image_size, 8, train=train)


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
def test_one_pass_of_resnet50(train):
    compare_one_pass(resnet.Config(), 97, 8, train=train)


@pytest.mark.parametrize("config", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_five_steps_of_sgd(config):
    twin = hugging_face.resnet_twin(config)
    before = hugging_face.state_of(twin)
    batches = [make_batch(config, 65, 16, seed) for seed in range(5)]
    optimizer = optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(1e-2, momentum=0.9, nesterov=True))
    after = ours.run_steps(ours.filled(resnet, config, before), ours.image_loss, optimizer, batches)
    torch_optimizer = hugging_face.sgd(twin, learning_rate=1e-2, momentum=0.9, weight_decay=1e-2)
    inputs = [hugging_face.images_to_torch(batch["images"], batch["labels"]) for batch in batches]
    assert_close(after, hugging_face.run_steps(twin, torch_optimizer, inputs))
    assert_all_moved(before, after)


@pytest.mark.parametrize("config", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
def test_five_steps_of_adamw(config):
    twin = hugging_face.resnet_twin(config)
    before = hugging_face.state_of(twin)
    batches = [make_batch(config, 65, 16, seed) for seed in range(5)]
    optimizer = optax.adamw(1e-3, eps=1e-8, weight_decay=1e-2)
    after = ours.run_steps(ours.filled(resnet, config, before), ours.image_loss, optimizer, batches)
    torch_optimizer = hugging_face.adamw(twin, learning_rate=1e-3, epsilon=1e-8, weight_decay=1e-2)
    inputs = [hugging_face.images_to_torch(batch["images"], batch["labels"]) for batch in batches]
    assert_close(after, hugging_face.run_steps(twin, torch_optimizer, inputs))
    assert_all_moved(before, after)
