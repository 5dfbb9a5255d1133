import itertools
import json
from collections import Counter

import numpy as np
import pytest

from tests.building import Workbench
from trainbench.data import text, tokenizer
from trainbench.data.bad_records import BadRecord, BadRecords
from trainbench.data.pipeline import Reading, Records, Shard, Transform, shuffled
from trainbench.data.text import Encode, held_out_batches, train_batches, useful_tokens
from trainbench.data.text_masked import Mask, MaskedRows
from trainbench.data.tokenizer import Encoder
from trainbench.data.wordpiece import SPECIAL
from trainbench.errors import UserError

pytest.importorskip("tokenizers")

THREADS = Reading(workers=0, threads=0)
ONE = Shard()
ROWS = MaskedRows(sequence_length=64, predictions=10, packing="concat")
ALONE = MaskedRows(sequence_length=64, predictions=10, packing="none")

WORDS = (
    "in",
    "the",
    "beginning",
    "god",
    "created",
    "heaven",
    "and",
    "earth",
    "without",
    "form",
    "void",
    "face",
)


def documents(count=60, longest=150, seed=0):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, longest))) for _ in range(count)]


DOCUMENTS = documents()


def records(texts=DOCUMENTS):
    return Records([{"text": entry.encode()} for entry in texts], "verses train")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return Encoder(tokenizer.obtain(lambda: iter(DOCUMENTS), "verses", 256, cache, None).path)


@pytest.fixture
def bad(tmp_path):
    return BadRecords(str(tmp_path / "bad.jsonl"), limit=2)


@pytest.fixture
def batches(encoder, bad):
    """Opens training batches; closes them in the end."""
    opened = []

    def open_batches(
        rows=ROWS, source=None, batch_size=4, seed=0, shard=ONE, reading=THREADS, text_key="text"
    ):
        source = records() if source is None else source
        found = train_batches(source, encoder, rows, text_key, batch_size, seed, shard, reading, bad)
        opened.append(found)
        return found

    yield open_batches
    for one in opened:
        one.close()


def take(found, count):
    return list(itertools.islice(found, count))


def original(batch):
    """The rows as they were before they were masked."""
    rows = batch["token_ids"].copy()
    for row, positions, labels, weights in zip(
        rows, batch["masked_positions"], batch["masked_labels"], batch["masked_weights"], strict=True
    ):
        known = weights > 0
        row[positions[known]] = labels[known]
    return rows


def bodies(found):
    """The unmasked rows without [CLS] and padding."""
    for batch in found:
        for row, real in zip(original(batch), batch["padding_mask"], strict=True):
            yield row[real][1:]


def same(one, other):
    assert len(one) == len(other)
    for batch, again in zip(one, other, strict=True):
        assert batch.keys() == again.keys()
        for name in batch:
            np.testing.assert_array_equal(batch[name], again[name])


@pytest.mark.parametrize("packing", ["concat", "none"])
def test_a_batch_is_what_the_model_expects(encoder, bad, packing):
    bench = Workbench(["model=bert_tiny"], batch_size=4)
    rows = MaskedRows(bench.task.sequence_length, bench.task.predictions, packing)
    with_training = take(train_batches(records(), encoder, rows, "text", 4, 0, ONE, THREADS, bad), 1)
    held_out = take(held_out_batches(records(), encoder, rows, "text", 4, bad), 1)
    for batch in (*with_training, *held_out):
        assert set(batch) == set(bench.spec)
        for name, spec in bench.spec.items():
            assert batch[name].shape == spec.shape, name
            assert batch[name].dtype == spec.dtype, name
            assert batch[name].min() >= 0
            if name not in ("padding_mask", "masked_weights"):
                assert batch[name].max() <= spec.high, name


def test_joined_rows_hold_an_epochs_tokens_and_no_others(encoder, bad, batches):
    encode = Transform(Encode(encoder, "text"), bad)
    order = itertools.islice(shuffled(records(), 3, ONE, encode, THREADS), 2 * len(DOCUMENTS))
    stream = np.concatenate([sample["tokens"] for sample in order])
    count = len(stream) // 63
    rows = list(bodies(take(batches(seed=3, batch_size=1), count)))
    assert count > 40
    np.testing.assert_array_equal(np.concatenate(rows), stream[: count * 63])


def test_each_epoch_has_every_document_once_in_an_order_of_its_own(encoder, bad):
    encode = Transform(Encode(encoder, "text"), bad)
    found = shuffled(records(), 3, ONE, encode, THREADS)
    both = [sample["tokens"].tobytes() for sample in itertools.islice(found, 2 * len(DOCUMENTS))]
    one, other = both[: len(DOCUMENTS)], both[len(DOCUMENTS) :]
    assert one != other
    assert (
        Counter(one)
        == Counter(other)
        == Counter(Encode(encoder, "text")({"text": entry})["tokens"].tobytes() for entry in DOCUMENTS)
    )


def test_joined_rows_are_full(batches):
    for batch in take(batches(), 20):
        assert batch["padding_mask"].all()
        assert useful_tokens(batch) == 4 * 64


def test_every_row_begins_with_the_class_token_alone(encoder, batches):
    for rows in (ROWS, ALONE):
        found = np.concatenate([original(batch) for batch in take(batches(rows=rows), 10)])
        assert (found[:, 0] == encoder.cls).all()
        assert (found[:, 1:] != encoder.cls).all()


def test_rows_of_their_own_hold_a_document_each_cut_or_filled_up(encoder, bad):
    found = list(bodies(held_out_batches(records(), encoder, ALONE, "text", 7, bad)))
    assert len(found) == len(DOCUMENTS)
    lengths = []
    for entry, body in zip(DOCUMENTS, found, strict=True):
        tokens = encoder(entry)
        np.testing.assert_array_equal(body, [*tokens[:62], encoder.sep])
        lengths.append(len(tokens))
    assert min(lengths) < 62 < max(lengths)


def test_padding_is_counted_as_such(encoder, bad):
    found = list(held_out_batches(records(), encoder, ALONE, "text", 7, bad))
    expected = sum(min(64, len(encoder(entry)) + 2) for entry in DOCUMENTS)
    assert sum(useful_tokens(batch) for batch in found) == expected
    assert sum(batch["token_ids"].size for batch in found) == len(DOCUMENTS) * 64
    for batch in found:
        assert (batch["token_ids"][~batch["padding_mask"]] == encoder.pad).all()
        assert (batch["token_ids"][batch["padding_mask"]] != encoder.pad).all()


def test_special_tokens_and_padding_are_never_predicted_nor_put_in_at_random(encoder, batches):
    special = list(encoder.special.values())
    for rows in (ROWS, ALONE):
        for batch in take(batches(rows=rows), 30):
            known = batch["masked_weights"] > 0
            assert not np.isin(batch["masked_labels"][known], special).any()
            masked = np.take_along_axis(batch["token_ids"], batch["masked_positions"], axis=1)[known]
            assert not np.isin(masked, [id for id in special if id != encoder.mask]).any()


def test_predictions_are_sorted_distinct_and_filled_up_with_zeros(batches):
    for batch in take(batches(rows=ALONE), 30):
        rows = zip(batch["masked_positions"], batch["masked_labels"], batch["masked_weights"], strict=True)
        for positions, labels, weights in rows:
            count = int(weights.sum())
            assert count >= 1
            np.testing.assert_array_equal(weights, [1] * count + [0] * (10 - count))
            assert (np.diff(positions[:count]) > 0).all()
            assert not positions[count:].any()
            assert not labels[count:].any()


def test_labels_are_the_tokens_that_stood_there(encoder):
    tokens = encoder(" ".join(WORDS * 5))[:60]
    assert len(tokens) == 60
    sample = Mask(encoder, ROWS).random_map(tokens, np.random.default_rng(1))
    count = int(sample["masked_weights"].sum())
    positions = sample["masked_positions"][:count]
    row = np.concatenate([[encoder.cls], tokens, [encoder.pad] * 3])
    np.testing.assert_array_equal(sample["masked_labels"][:count], row[positions])
    others = np.setdiff1d(np.arange(64), positions)
    np.testing.assert_array_equal(sample["token_ids"][others], row[others])


@pytest.mark.parametrize(
    ("length", "limit", "expected"),
    [(1, 10, 1), (5, 10, 1), (10, 10, 2), (20, 10, 3), (63, 10, 9), (63, 4, 4)],
)
def test_fifteen_percent_are_predicted_one_at_least_and_no_more_than_the_limit(
    encoder, length, limit, expected
):
    tokens = np.full(length, encoder.size - 1, np.int32)
    sample = Mask(encoder, MaskedRows(64, limit)).random_map(tokens, np.random.default_rng(0))
    assert sample["masked_weights"].sum() == expected


def test_a_row_without_anything_to_predict_weighs_nothing(encoder):
    tokens = np.array([encoder.sep], np.int32)
    sample = Mask(encoder, ROWS).random_map(tokens, np.random.default_rng(0))
    assert sample["masked_weights"].sum() == 0
    assert sample["token_ids"][:3].tolist() == [encoder.cls, encoder.sep, encoder.pad]


def test_eighty_ten_ten(encoder):
    mask, generator = Mask(encoder, ROWS), np.random.default_rng(0)
    tokens = np.full(63, encoder.size - 1, np.int32)
    masked = kept = other = 0
    for _ in range(2000):
        sample = mask.random_map(tokens, generator)
        now = sample["token_ids"][sample["masked_positions"][sample["masked_weights"] > 0]]
        masked += np.count_nonzero(now == encoder.mask)
        kept += np.count_nonzero(now == encoder.size - 1)
        other += np.count_nonzero((now != encoder.mask) & (now != encoder.size - 1))
    total = masked + kept + other
    assert total == 2000 * 9
    # A random token is the original one by chance.
    chance = 0.1 / (encoder.size - len(SPECIAL))
    for found, share in ((masked, 0.8), (kept, 0.1 + chance), (other, 0.1 - chance)):
        assert abs(found - total * share) < 4 * np.sqrt(total * share * (1 - share))


def test_each_position_and_each_ordinary_token_has_its_chance(encoder):
    mask, generator = Mask(encoder, ROWS), np.random.default_rng(0)
    tokens = np.full(63, encoder.size - 1, np.int32)
    positions, put_in = Counter(), set()
    for _ in range(4000):
        sample = mask.random_map(tokens, generator)
        where = sample["masked_positions"][sample["masked_weights"] > 0]
        positions.update(where.tolist())
        put_in.update(sample["token_ids"][where].tolist())
    share = 9 / 63
    bound = 5 * np.sqrt(4000 * share * (1 - share))
    assert set(positions) == set(range(1, 64))
    assert all(abs(count - 4000 * share) < bound for count in positions.values())
    assert put_in == set(range(len(SPECIAL), encoder.size)) | {encoder.mask}


def test_the_seed_fixes_order_and_masks(batches):
    one, again, other = (take(batches(seed=seed), 5) for seed in (0, 0, 1))
    same(one, again)
    assert not np.array_equal(one[0]["token_ids"], other[0]["token_ids"])


def test_an_epoch_later_the_same_document_is_masked_differently(batches):
    source = records(DOCUMENTS[:1])
    first, second = take(batches(rows=ALONE, source=source, batch_size=1), 2)
    np.testing.assert_array_equal(original(first), original(second))
    assert not np.array_equal(first["masked_positions"], second["masked_positions"])


def test_threads_and_workers_change_nothing(batches):
    expected = take(batches(), 6)
    same(take(batches(reading=Reading(workers=0, threads=3)), 6), expected)
    same(take(batches(reading=Reading(workers=1, threads=1)), 6), expected)


def test_shards_have_different_documents_and_all_of_them(encoder, batches):
    texts = [f"{word} {other}" for word in WORDS for other in WORDS]
    rows = MaskedRows(sequence_length=8, predictions=2, packing="none")
    shards = []
    for index in range(4):
        found = batches(rows=rows, source=records(texts), batch_size=6, shard=Shard(index, 4))
        shards.append({body.tobytes() for body in bodies(take(found, 6))})
    assert [len(shard) for shard in shards] == [36] * 4
    assert set.union(*shards) == {
        np.array([*encoder(entry), encoder.sep], np.int32).tobytes() for entry in texts
    }
    assert len(texts) == 4 * 36


def test_processes_mask_differently_even_where_they_read_the_same(batches):
    source = records(DOCUMENTS[:1] * 2)
    one, other = (take(batches(source=source, shard=Shard(index, 2)), 1)[0] for index in (0, 1))
    np.testing.assert_array_equal(original(one), original(other))
    assert not np.array_equal(one["masked_positions"], other["masked_positions"])


# Documents that end where rows end leave nothing over: the state that JSON would spoil.
EVEN = [" ".join(["void"] * 62) for _ in range(3)] + [" ".join(["form"] * 62) for _ in range(3)]


@pytest.mark.parametrize("texts", [DOCUMENTS, EVEN], ids=["any length", "just a row each"])
@pytest.mark.parametrize("packing", ["concat", "none"])
@pytest.mark.parametrize("done", [0, 1, 3])
def test_batches_go_on_from_a_state_to_the_bit(batches, texts, packing, done):
    rows = MaskedRows(64, 10, packing)
    found = batches(rows=rows, source=records(texts))
    take(found, done)
    state = found.get_state()
    json.loads(state)
    expected = take(found, 5)
    resumed = batches(rows=rows, source=records(texts))
    resumed.set_state(state)
    same(take(resumed, 5), expected)
    found.set_state(state)
    same(take(found, 5), expected)


@pytest.mark.parametrize("texts", [DOCUMENTS, EVEN], ids=["any length", "just a row each"])
def test_batches_of_a_worker_process_go_on_from_a_state_to_the_bit(batches, texts):
    reading = Reading(workers=1, threads=1)
    found = batches(source=records(texts), reading=reading)
    take(found, 2)
    state = found.get_state()
    expected = take(found, 3)
    resumed = batches(source=records(texts), reading=reading)
    resumed.set_state(state)
    same(take(resumed, 3), expected)


def test_held_out_batches_are_finite_complete_and_always_alike(encoder, bad):
    one, again = (list(held_out_batches(records(), encoder, ROWS, "text", 5, bad)) for _ in range(2))
    same(one, again)
    stream = np.concatenate([[*encoder(entry), encoder.sep] for entry in DOCUMENTS])
    np.testing.assert_array_equal(np.concatenate(list(bodies(one))), stream)
    rows = -(-len(stream) // 63)
    assert [len(batch["token_ids"]) for batch in one] == [5] * (rows // 5) + [rows % 5] * (rows % 5 > 0)
    assert rows % 5


def test_documents_without_text_are_left_out_and_not_damage(encoder, bad):
    source = records(["", *DOCUMENTS[:3], " \n"])
    found = list(bodies(held_out_batches(source, encoder, ALONE, "text", 8, bad)))
    assert len(found) == 3
    assert bad.seen() == {}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"text": b"caf\xe9"}, "not text in UTF-8"),
        ({"text": "\ud800"}, "not text in UTF-8"),
        ({"text": 7}, "int instead of text"),
        ({"text": ["in", "the"]}, "list instead of text"),
        ({"title": b"Genesis"}, "it has no 'text'"),
    ],
)
def test_damaged_records_are_named_and_left_out(encoder, bad, batches, content, why):
    source = Records([{"text": entry} for entry in DOCUMENTS[:5]] + [content], "verses train")
    with pytest.raises(BadRecord, match=why):
        Encode(encoder, "text")(content)
    take(batches(source=source), 5)
    held_out = list(bodies(held_out_batches(source, encoder, ALONE, "text", 8, bad)))
    assert len(held_out) == 5
    assert list(bad.seen()) == ["verses train[5]"]
    assert why in bad.seen()["verses train[5]"]


def test_texts_to_train_a_tokenizer_on_come_without_damaged_ones():
    contents = [{"text": b"void"}, {"text": b"\xff"}, {"title": b"deep"}, {"text": "form"}]
    assert list(text.documents(Records(contents, "verses"), "text")) == ["void", "form"]


@pytest.mark.parametrize("texts", [[], ["", " "], [b"\xff"]], ids=["empty", "blank", "damaged"])
def test_data_without_text_is_refused_and_does_not_hang(encoder, bad, batches, texts):
    source = Records([{"text": entry} for entry in texts], "verses train")
    with pytest.raises(UserError, match=r"no record has text in data\.text_key=text"):
        batches(source=source)
    with pytest.raises(UserError, match="no record has text"):
        held_out_batches(source, encoder, ROWS, "text", 4, bad)


def test_a_process_without_a_record_of_its_own_is_refused(batches):
    with pytest.raises(UserError, match="for process 2 of 3"):
        batches(source=records(DOCUMENTS[:2]), shard=Shard(2, 3))


def test_an_unknown_packing_is_refused(batches):
    with pytest.raises(UserError, match=r"data\.packing=tight") as error:
        batches(rows=MaskedRows(64, 10, "tight"))
    assert error.value.allowed == "concat, none"


def test_rows_too_short_to_predict_anything_are_refused(batches):
    with pytest.raises(UserError, match="sequence_length=2"):
        batches(rows=MaskedRows(2, 1))
    assert take(batches(rows=MaskedRows(3, 1)), 3)[0]["masked_weights"].all()
