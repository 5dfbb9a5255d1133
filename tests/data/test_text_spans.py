"""Pairs for span corruption: every token is in one of the two sides, and the sentinels tell where."""

import json
from collections import Counter

import numpy as np
import pytest

from tests.building import Workbench
from tests.data.test_text import DOCUMENTS, EVEN, records, same, take
from trainbench.data import span_lengths, tokenizer
from trainbench.data.bad_records import BadRecords
from trainbench.data.pipeline import Reading, Shard
from trainbench.data.text import held_out_batches, train_batches
from trainbench.data.text_spans import Corrupt, SpanRows, partition
from trainbench.data.tokenizer import Encoder
from trainbench.errors import UserError

pytest.importorskip("tokenizers")

THREADS = Reading(workers=0, threads=0)
VOCABULARY = 1024
ROWS, ALONE = SpanRows(64, VOCABULARY), SpanRows(64, VOCABULARY, "none")
# Text that fills 64 inputs, and targets that go with them.
LENGTH, TARGETS = 70, 14


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return Encoder(tokenizer.obtain(lambda: iter(DOCUMENTS), "verses", 256, cache, None).path, ROWS.special)


@pytest.fixture
def bad(tmp_path):
    return BadRecords(str(tmp_path / "bad.jsonl"), limit=2)


@pytest.fixture
def batches(encoder, bad):
    """Opens training batches; closes them in the end."""
    opened = []

    def open_batches(rows=ROWS, source=None, batch_size=4, seed=0):
        source = source or records()
        opened.append(train_batches(source, encoder, rows, "text", batch_size, seed, Shard(), THREADS, bad))
        return opened[-1]

    yield open_batches
    for one in opened:
        one.close()


def corrupted(encoder, tokens, seed=0, rows=ROWS):
    return Corrupt(encoder, rows).random_map(np.asarray(tokens, np.int32), np.random.default_rng(seed))


def restored(sample, end):
    """The text of a pair: each sentinel of the inputs replaced by what follows it in the targets."""
    inputs = sample["token_ids"][sample["padding_mask"]].tolist()
    targets = sample["target_ids"][sample["target_weights"] > 0].tolist()
    assert inputs.pop() == targets.pop() == end
    spans, text = {}, []
    for token in targets:
        if token > VOCABULARY - 1 - ROWS.reserved:
            spans[token] = []
            last = token
        else:
            spans[last].append(token)
    assert list(spans) == list(range(VOCABULARY - 1, VOCABULARY - 1 - len(spans), -1))
    for token in inputs:
        text += spans.pop(token) if token in spans else [token]
    assert not spans
    return text


@pytest.mark.parametrize("length", [2, 3, 10, 23, 24, LENGTH])
def test_a_pair_holds_every_token_of_its_text_once_and_in_order(encoder, length):
    tokens = np.arange(5, 5 + length)
    for seed in range(20):
        sample = corrupted(encoder, tokens, seed)
        np.testing.assert_array_equal(restored(sample, encoder.sep), tokens)
        noise, spans = span_lengths.replaced(length)
        assert sample["padding_mask"].sum() == length - noise + spans + 1
        assert sample["target_weights"].sum() == noise + spans + 1


def test_a_full_text_fills_both_sides(encoder):
    sample = corrupted(encoder, np.arange(5, 5 + LENGTH))
    assert sample["padding_mask"].all()
    assert sample["target_weights"].all()
    assert (len(sample["token_ids"]), len(sample["target_ids"])) == (64, TARGETS)


def test_of_a_single_token_nothing_is_replaced(encoder):
    sample = corrupted(encoder, [9])
    assert sample["token_ids"][:3].tolist() == [9, encoder.sep, encoder.pad]
    assert sample["target_ids"][:2].tolist() == [encoder.sep, encoder.pad]
    assert sample["target_weights"].sum() == 1


def test_the_decoder_reads_what_it_is_to_write_one_token_later(encoder):
    sample = corrupted(encoder, np.arange(5, 5 + LENGTH))
    assert sample["decoder_ids"][0] == encoder.pad
    np.testing.assert_array_equal(sample["decoder_ids"][1:], sample["target_ids"][:-1])


def test_every_token_is_replaced_as_often_as_published(encoder):
    counts = np.zeros(LENGTH)
    for seed in range(2000):
        targets = corrupted(encoder, np.arange(5, 5 + LENGTH), seed)["target_ids"]
        counts[targets[(targets >= 5) & (targets < 5 + LENGTH)] - 5] += 1
    assert counts.sum() / counts.size / 2000 == pytest.approx(10 / LENGTH)
    # The first token never, since a text begins with what is kept; the last one always.
    assert (counts[0], counts[-1]) == (0, 2000)
    assert (counts[1:-1] > 0).all()


def test_all_partitions_are_equally_likely():
    random = np.random.default_rng(0)
    found = Counter(tuple(map(int, partition(6, 3, random))) for _ in range(6000))
    assert len(found) == 10
    assert all(sum(sizes) == 6 and min(sizes) >= 1 for sizes in found)
    assert min(found.values()) > 500


def test_lengths_are_the_published_ones():
    assert span_lengths.text_length(512) == 568
    assert span_lengths.target_length(512) == 114


@pytest.mark.parametrize("inputs", [3, 4, 63, 64, 100, 128, 511, 512, 1024])
def test_a_text_fills_the_inputs_exactly(inputs):
    assert span_lengths.lengths(span_lengths.text_length(inputs))[0] == inputs


@pytest.mark.parametrize("packing", ["concat", "none"])
def test_a_batch_is_what_the_task_expects(encoder, bad, packing):
    bench = Workbench(["model=t5_tiny"], batch_size=4)
    rows = SpanRows(bench.task.sequence_length, VOCABULARY, packing)
    with_training = take(train_batches(records(), encoder, rows, "text", 4, 0, Shard(), THREADS, bad), 1)
    held_out = take(held_out_batches(records(), encoder, rows, "text", 4, bad), 1)
    for batch in (*with_training, *held_out):
        assert set(batch) == set(bench.spec)
        for name, spec in bench.spec.items():
            assert batch[name].shape == spec.shape, name
            assert batch[name].dtype == spec.dtype, name
            assert 0 <= batch[name].min() <= batch[name].max() <= spec.high, name


def test_joined_rows_are_full(batches):
    for batch in take(batches(), 20):
        assert batch["padding_mask"].all()
        assert batch["target_weights"].all()


def test_held_out_rows_are_the_text_and_always_alike(encoder, bad):
    one, again = (list(held_out_batches(records(), encoder, ROWS, "text", 5, bad)) for _ in range(2))
    same(one, again)
    stream = [token for entry in DOCUMENTS for token in (*encoder(entry), encoder.sep)]
    found = [
        token
        for batch in one
        for row in range(len(batch["token_ids"]))
        for token in restored({name: array[row] for name, array in batch.items()}, encoder.sep)
    ]
    assert found == stream


def test_rows_of_their_own_hold_a_document_each_cut_or_filled_up(encoder, bad):
    found = list(held_out_batches(records(), encoder, ALONE, "text", 7, bad))
    rows = {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}
    assert len(rows["token_ids"]) == len(DOCUMENTS)
    for index, entry in enumerate(DOCUMENTS):
        text = restored({name: array[index] for name, array in rows.items()}, encoder.sep)
        assert text == [*encoder(entry), encoder.sep][:LENGTH]


def test_the_seed_fixes_the_order_and_the_spans(batches):
    one, again, other = (take(batches(seed=seed), 5) for seed in (0, 0, 1))
    same(one, again)
    assert not np.array_equal(one[0]["token_ids"], other[0]["token_ids"])


@pytest.mark.parametrize("texts", [DOCUMENTS, EVEN], ids=["any length", "just a row each"])
@pytest.mark.parametrize("packing", ["concat", "none"])
def test_batches_go_on_from_a_state_to_the_bit(batches, texts, packing):
    rows = SpanRows(63, VOCABULARY, packing)
    found = batches(rows=rows, source=records(texts))
    take(found, 3)
    state = found.get_state()
    json.loads(state)
    expected = take(found, 5)
    resumed = batches(rows=rows, source=records(texts))
    resumed.set_state(state)
    same(take(resumed, 5), expected)


def test_no_tokenizer_gets_the_ids_of_the_sentinels(tmp_path):
    assert ROWS.reserved == 3
    found = tokenizer.obtain(
        lambda: iter(DOCUMENTS), "verses", 64 + 3, tmp_path, None, ROWS.special, ROWS.reserved
    )
    assert found.size == Encoder(found.path, ROWS.special).size == 64
    with pytest.raises(UserError, match=r"64 tokens, .* beside the 3 that stand for spans") as error:
        tokenizer.obtain(unread, "verses", 66, tmp_path, found.path, ROWS.special, ROWS.reserved)
    assert error.value.fix == "model.architecture.vocabulary=67"


def unread():
    raise AssertionError("a tokenizer was trained")
    yield ""


def test_t5s_own_tokenizer_fills_and_ends_with_its_own_tokens(tmp_path, bad):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", "the", "god", "void"])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    path = str(tmp_path / "tokenizer.json")
    made.save(path)
    own = Encoder(path, ROWS.special)
    assert (own.pad, own.sep) == (0, 1)
    batch = next(held_out_batches(records(), own, ALONE, "text", 7, bad))
    assert (batch["decoder_ids"][:, 0] == 0).all()
    ends = batch["padding_mask"].sum(1) - 1
    assert (batch["token_ids"][np.arange(7), ends] == 1).all()


def test_an_unknown_packing_is_refused():
    with pytest.raises(UserError, match=r"data\.packing=tight"):
        SpanRows(64, VOCABULARY, "tight")
