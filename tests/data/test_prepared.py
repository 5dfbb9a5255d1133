import json
import pickle
import shutil
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from tests.data import small_sets
from tests.data.refusing import refused
from trainbench.data import embedded, prepare, prepared
from trainbench.data.stored import Reference, parse
from trainbench.errors import UserError


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    prepare.prepare("small_photos", directory, download=False)
    prepare.prepare("small_texts/loud", directory, download=False)
    return directory


@pytest.fixture(scope="module")
def photos(directory):
    return prepared.open_set("small_photos", directory)


@pytest.fixture
def copy(directory, tmp_path):
    """A copy of the photographs' own directory that a test may damage."""
    shutil.copytree(directory / "small_photos", tmp_path / "small_photos")
    return tmp_path / "small_photos" / "1.2.0"


def known(record):
    """What tells one record from another."""
    return record.name, record.content["number"], record.content["image"]


def test_a_prepared_set_gives_its_records_at_random_access(photos):
    records = photos.records("train", raw=["image"])
    assert len(records) == 64
    content = records[5].content
    assert content["image"] == small_sets.encoded(content["number"]).read()
    assert content["note"] == f"photo {content['number']}".encode()
    assert sorted(records[index].content["number"] for index in range(64)) == list(range(64))


def test_images_that_are_not_named_come_decoded(photos):
    assert photos.records("test")[0].content["image"].shape == (60, 80, 3)


def test_slices_and_sums_of_splits_are_read_as_tfds_writes_them(photos):
    assert [len(photos.records(split)) for split in ("train[:10%]", "train+test", "train[-3:]")] == [6, 72, 3]


def test_records_travel_to_other_processes(photos):
    records = photos.records("train", raw=["image"])
    copy = pickle.loads(pickle.dumps(records))
    assert len(copy) == 64
    assert known(copy[7]) == known(records[7])


def test_a_missing_split_names_those_that_exist(photos):
    error = refused("train (64), test (8)", photos.records, "trian")
    assert error.fix == "data.split=train"
    assert refused("no such split", photos.records, "validation", config_key="data.held_out").fix.startswith(
        "data.held_out="
    )


@pytest.mark.parametrize("split", ["train[", "", "train[100:]", "train[:5000]", "train+tset"])
def test_a_wrong_slice_is_refused(photos, split):
    refused(f"data.split={split}: ", photos.records, split)


def test_a_slice_without_records_is_refused(photos):
    refused("no record of small_photos is in it", photos.records, "train[:0]")


def test_a_missing_feature_names_those_that_exist(photos):
    error = refused("deep, image, label, note, number, pixels", photos.check_key, "imge", "data.image_key")
    assert error.fix == "data.image_key=image"
    refused("no such feature", photos.records, "train", raw=["imge"])
    photos.check_key("label", "data.label_key")


def test_images_tell_their_shape_where_it_is_fixed(photos):
    assert photos.image_shape("image") == (None, None, 3)
    assert photos.image_shape("pixels") == (2, 3, 1)


@pytest.mark.parametrize("key", ["label", "note", "deep"])
def test_other_features_are_no_images(photos, key):
    assert "image, pixels" in refused("not an image of 8-bit pixels", photos.image_shape, key).allowed


def test_classes_are_counted_only_where_the_feature_knows_them(photos):
    assert photos.class_count("label") == 10
    assert refused("how many classes", photos.class_count, "number").fix == ("data.label_key=label")
    refused("how many classes", photos.class_count, "image")


def test_text_is_told_from_the_rest(photos):
    photos.check_text("note")
    assert refused("not text", photos.check_text, "number").fix == "data.text_key=note"


def test_the_fingerprint_follows_the_content_and_not_the_place(directory, photos, copy):
    elsewhere = prepared.open_set("small_photos", copy.parent.parent)
    assert elsewhere.fingerprint() == photos.fingerprint()
    assert photos.fingerprint().startswith("small_photos/1.2.0 ")
    description = json.loads((copy / "dataset_info.json").read_text())
    description["splits"][0]["numBytes"] = "1"
    (copy / "dataset_info.json").write_text(json.dumps(description))
    assert prepared.open_set("small_photos", copy.parent.parent).fingerprint() != photos.fingerprint()


@pytest.mark.parametrize("name", ["small_texts/loud", "small_texts/loud:1.0.0", "small_texts/loud/1.0.0"])
def test_configurations_and_versions_can_be_named(directory, name):
    assert prepared.open_set(name, directory).builder.info.full_name == "small_texts/loud/1.0.0"


def test_what_lies_there_is_named_when_another_is_asked_for(directory):
    error = refused("small_texts/loud:1.0.0", prepared.open_set, "small_texts/plain", directory)
    assert "prepare data=tfds data.name=small_texts/plain" in error.fix
    refused("small_photos:1.2.0", prepared.open_set, "small_photos:2.0.0", directory)


def test_the_default_configuration_is_meant_when_none_is_named(directory):
    refused("small_texts/loud:1.0.0", prepared.open_set, "small_texts", directory)


def test_the_only_configuration_is_taken_where_no_default_is_known(directory, tmp_path):
    shutil.copytree(directory / "small_texts" / "loud", tmp_path / "small_texts" / "loud")
    assert prepared.open_set("small_texts", tmp_path).builder.info.config_name == "loud"


def test_one_of_several_configurations_must_be_named(directory, tmp_path):
    for config in ("loud", "quiet"):
        shutil.copytree(directory / "small_texts" / "loud", tmp_path / "small_texts" / config)
    refused("one of several", prepared.open_set, "small_texts", tmp_path)


def test_the_newest_version_is_opened(copy):
    shutil.copytree(copy, copy.parent / "1.10.0")
    assert prepared.locate("small_photos", copy.parent.parent) == copy.parent / "1.10.0"
    assert prepared.locate("small_photos:1.2.*", copy.parent.parent) == copy


def test_half_written_directories_are_not_taken_for_prepared(copy):
    copy.rename(copy.parent / "incomplete.ABCDEF_1.2.0")
    assert prepared.locate("small_photos", copy.parent.parent) is None


def test_a_set_that_no_builder_knows_opens_from_its_own_description(copy):
    directory = copy.parent.parent
    (directory / "my_photos").mkdir()
    for file in copy.iterdir():
        file.rename(file.with_name(file.name.replace("small_photos", "my_photos")))
    description = copy / "dataset_info.json"
    description.write_text(description.read_text().replace("small_photos", "my_photos"))
    shutil.copytree(copy, directory / "my_photos" / "1.2.0")
    assert len(prepared.open_set("my_photos", directory).records("train")) == 64


def test_the_directory_may_be_the_sets_own(copy):
    assert len(prepared.open_set("small_photos", copy).records("test")) == 8
    assert refused("is itself a data set", prepared.open_set, "mnist", copy).allowed == (
        "data.name=small_photos:1.2.0"
    )


@pytest.mark.parametrize(
    ("name", "likely"), [("imagenet", "imagenet2012"), ("mnits", "mnist"), ("kvj", "kjv")]
)
def test_an_unknown_name_is_met_with_the_nearest(tmp_path, name, likely):
    assert refused("no such data set", prepared.open_set, name, tmp_path).fix.startswith(
        f"data.name={likely}; or the right data.dir"
    )


def test_an_unknown_configuration_is_met_with_the_nearest(tmp_path):
    assert (
        refused("no configuration sst3", prepared.open_set, "glue/sst3", tmp_path).fix
        == "data.name=glue/sst2"
    )


@pytest.mark.parametrize("name", ["", "a b", "a/b/c", "/data/mnist", "huggingface:a/b/c"])
def test_what_is_no_name_is_refused(tmp_path, name):
    refused("is not the name of a data set", prepared.open_set, name, tmp_path)


def test_what_is_not_prepared_says_what_to_type(tmp_path):
    error = refused("not prepared", prepared.open_set, "mnist", tmp_path)
    command = f"python -m trainbench prepare data=tfds data.name=mnist data.dir={tmp_path}"
    assert error.fix == f"{command} data.download=true"
    error = refused("not prepared", prepared.open_set, "imagenet2012", tmp_path)
    assert error.fix.endswith("data.manual_dir=DIR")
    error = refused("not prepared", prepared.open_set, "wikipedia/20230601.en", tmp_path, text=True)
    assert "data=tfds_text data.name=wikipedia/20230601.en" in error.fix


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"name": "small_photos"', b'{"name": 3}', b"{}", b"\xff\xfe"]
)
@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_the_users_to_mend(copy, file, content):
    (copy / file).write_bytes(content)
    refused("is damaged", prepared.open_set, "small_photos", copy.parent.parent)


def test_missing_and_empty_files_are_found_on_opening(copy):
    test, train = sorted(copy.glob("*.array_record*"))
    test.write_bytes(b"")
    refused("1 of 2 files are missing or empty", prepared.open_set, "small_photos", copy.parent.parent)
    train.unlink()
    refused("2 of 2 files are missing or empty", prepared.open_set, "small_photos", copy.parent.parent)


def test_the_wrong_format_names_the_loader_that_reads_it(copy):
    for file in (copy / "dataset_info.json", *copy.glob("*.array_record*")):
        if file.name == "dataset_info.json":
            file.write_text(file.read_text().replace("array_record", "tfrecord"))
        else:
            file.rename(file.with_name(file.name.replace("array_record", "tfrecord")))
    error = refused("prepared as tfrecord", prepared.open_set, "small_photos", copy.parent.parent)
    assert error.fix.startswith("data.loader=tfdata; or python -m trainbench prepare")


def test_a_damaged_record_is_named_and_the_others_are_read(copy, photos):
    file = next(copy.glob("*train.array_record*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    records = prepared.open_set("small_photos", copy.parent.parent).records("train", raw=["image"])
    read = [records[index] for index in range(64)]
    damaged = [record for record in read if record.content is None]
    assert len(damaged) == 1
    assert damaged[0].name.startswith("small_photos train[")
    assert "hash mismatch" in damaged[0].error
    whole = photos.records("train", raw=["image"])
    for index, record in enumerate(read):
        if record.content is not None:
            assert known(record) == known(whole[index])


def test_records_of_a_file_cut_short_are_named_one_by_one(copy):
    file = next(copy.glob("*train.array_record*"))
    file.write_bytes(file.read_bytes()[:-1])
    records = prepared.open_set("small_photos", copy.parent.parent).records("train")
    assert all(records[index].error for index in (0, 63))


def test_embedded_sets_are_prepared_on_first_use(tmp_path):
    digits = prepared.open_set("digits", tmp_path)
    assert {name: split.num_examples for name, split in digits.builder.info.splits.items()} == {
        "train": 1500,
        "test": 297,
    }
    assert digits.class_count("label") == 10
    assert digits.image_shape("image") == (8, 8, 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert prepared.open_set("digits", tmp_path).fingerprint() == digits.fingerprint()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_opening_again_imports_neither_tensorflow_nor_scikit_learn_and_is_silent(tmp_path):
    prepared.open_set("digits", tmp_path)
    script = (
        "import sys; from pathlib import Path; from trainbench.data import prepared\n"
        "prepared.open_set('digits', Path(sys.argv[1])).records('train', raw=['image'])[0]\n"
        "assert not {'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_embedded_name_has_its_builder():
    for name in embedded.BUILDERS:
        assert issubclass(embedded.builder_class(name), tfds.core.GeneratorBasedBuilder)


def test_stock_names_open_as_their_own_builders_describe_them(tmp_path):
    with tfds.testing.mock_data(num_examples=3):
        builder = tfds.builder("imagenet2012", data_dir=str(tmp_path))
        source = builder.as_data_source(split="train")
    stock = prepared.Prepared("imagenet2012", builder)
    assert len(source) == 3
    assert stock.class_count("label") == 1000
    assert stock.image_shape("image") == (None, None, 3)


def test_names_are_read_in_tfds_notation():
    assert parse("wikipedia/20230601.en") == Reference("wikipedia", "20230601.en")
    assert str(parse("glue/sst2:1.*.*")) == "glue/sst2:1.*.*"


def test_a_name_is_looked_for_first_in_the_directory(directory):
    refused = error("small_photo", directory)
    assert refused.fix == "data.name=small_photos"
    assert "which holds" in refused.problem


def test_a_directory_that_is_not_there_is_named(tmp_path):
    refused = error("my_set", tmp_path / "nosuch")
    assert f"data.dir={tmp_path / 'nosuch'} is no directory" in refused.problem
    assert "the right data.dir" in refused.fix


def error(name, directory):
    with pytest.raises(UserError) as caught:
        prepared.open_set(name, directory)
    return caught.value
