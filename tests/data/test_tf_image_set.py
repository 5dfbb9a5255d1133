"""What data.loader=tfdata refuses and chooses; none of it needs TensorFlow."""

import pytest

from tests.building import request
from trainbench.data import tf_image_set
from trainbench.data.pipeline import Shard
from trainbench.data.reading import Surroundings
from trainbench.data.tf_image_set import open_tf_images
from trainbench.errors import UserError


def refused(directory, *overrides):
    asked = request("model=resnet_tiny", "data.loader=tfdata", *overrides)
    with pytest.raises(UserError) as caught:
        open_tf_images(asked.data, Surroundings(2, Shard(), directory, directory), 32)
    return caught.value


@pytest.mark.parametrize(
    ("override", "fix"),
    [
        ("data.crop=whole", "data.crop=random_resized"),
        ("data.held_out=test", "data.held_out=null"),
        ("data.decoder=opencv", "data.decoder=default"),
        ("data.workers=0", "data.workers=default"),
        ("data.workers=2", "data.workers=default"),
        ("data.threads=1", "data.threads=default"),
        ("data.bad_records=3", "data.bad_records=0"),
    ],
)
def test_what_only_grain_does_is_refused_and_the_fix_is_not(tmp_path, override, fix):
    error = refused(tmp_path, "data=tfds", override)
    assert f"{override} cannot be had with data.loader=tfdata" in error.problem
    assert error.fix == f"{fix}, or data.loader=grain"
    assert "not prepared" in refused(tmp_path, "data=tfds", fix).problem


@pytest.mark.parametrize("data", ["photos", "tfds"])
def test_what_the_configurations_say_is_no_request(tmp_path, data):
    assert "not prepared" in refused(tmp_path, f"data={data}").problem


def test_what_is_chosen_is_told():
    left_open = request("model=resnet_tiny", "data=tfds", "data.loader=tfdata").data
    choices = tf_image_set._choices(left_open)
    assert {key: value for key, (value, _) in choices.items()} == {
        "data.decoder": "tensorflow",
        "data.crop": "random_resized",
        "data.bad_records": 0,
    }
    named = ("data.crop=random_resized", "data.bad_records=0")
    asked = request("model=resnet_tiny", "data=tfds", "data.loader=tfdata", *named).data
    assert set(tf_image_set._choices(asked)) == {"data.decoder"}
