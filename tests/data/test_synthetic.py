import itertools

import numpy as np
import pytest

from tests.building import MODELS, Workbench
from trainbench.data.synthetic import host_batch, host_batches


@pytest.mark.parametrize("model", MODELS)
def test_batches_have_the_shapes_dtypes_and_ranges_of_the_task(model):
    spec = Workbench([f"model={model}"], batch_size=2).spec
    batch = host_batch(spec, 0)
    assert batch.keys() == spec.keys()
    for name, array in batch.items():
        assert (array.shape, array.dtype) == (spec[name].shape, spec[name].dtype), name
        assert spec[name].low <= array.min() <= array.max() <= spec[name].high, name
        assert array.nbytes == spec[name].nbytes


def test_pixels_use_the_whole_range():
    image = host_batch(Workbench(["model=resnet_tiny"], batch_size=8).spec, 0)["image"]
    assert (image.min(), image.max()) == (0, 255)


def test_a_seed_gives_its_batch_and_another_seed_another():
    spec = Workbench(["model=resnet_tiny"]).spec
    np.testing.assert_array_equal(host_batch(spec, 3)["image"], host_batch(spec, 3)["image"])
    assert not np.array_equal(host_batch(spec, 3)["image"], host_batch(spec, 4)["image"])


def test_fed_batches_differ_from_one_to_the_next():
    batches = list(itertools.islice(host_batches(Workbench(["model=resnet_tiny"]).spec, 0), 4))
    assert len({batch["image"].tobytes() for batch in batches}) == 4
