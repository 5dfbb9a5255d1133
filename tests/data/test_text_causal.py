"""Rows for causal language models: no token is lost, none is invented, and each is followed by its target."""

import itertools
import json
import pickle

import numpy as np
import pytest

from tests.building import Workbench
from tests.data.test_text import DOCUMENTS, EVEN, records, same, take
from trainbench.data import tokenizer
from trainbench.data.bad_records import BadRecords
from trainbench.data.pipeline import Reading, Shard, Transform, shuffled
from trainbench.data.text import Encode, held_out_batches, train_batches, useful_tokens
from trainbench.data.text_causal import CausalRows
from trainbench.data.tokenizer import Encoder
from trainbench.errors import UserError

pytest.importorskip("tokenizers")

THREADS = Reading(workers=0, threads=0)
ROWS, ALONE = CausalRows(64), CausalRows(64, "none")


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

    def open_batches(rows=ROWS, source=None, batch_size=4, seed=0, shard=None, reading=THREADS):
        source, shard = source or records(), shard or Shard()
        opened.append(train_batches(source, encoder, rows, "text", batch_size, seed, shard, reading, bad))
        return opened[-1]

    yield open_batches
    for one in opened:
        one.close()


def counted(found, name):
    """The tokens of that array that have a weight, row after row."""
    return np.concatenate([batch[name][batch["target_weights"] > 0] for batch in found])


@pytest.mark.parametrize("packing", ["concat", "none"])
def test_a_batch_is_what_the_task_expects(encoder, bad, packing):
    bench = Workbench(["model=gpt2_tiny"], batch_size=4)
    rows = CausalRows(bench.task.sequence_length, packing)
    with_training = take(train_batches(records(), encoder, rows, "text", 4, 0, Shard(), THREADS, bad), 1)
    held_out = take(held_out_batches(records(), encoder, rows, "text", 4, bad), 1)
    for batch in (*with_training, *held_out):
        assert set(batch) == set(bench.spec)
        for name, spec in bench.spec.items():
            assert batch[name].shape == spec.shape, name
            assert batch[name].dtype == spec.dtype, name
            assert 0 <= batch[name].min() <= batch[name].max() <= spec.high, name


def test_joined_rows_hold_every_token_of_an_epoch_once_as_input_and_once_as_target(encoder, bad, batches):
    encode = Transform(Encode(encoder, "text"), bad)
    order = itertools.islice(shuffled(records(), 3, Shard(), encode, THREADS), 2 * len(DOCUMENTS))
    stream = np.concatenate([sample["tokens"] for sample in order])
    count = len(stream) // 64
    found = take(batches(seed=3, batch_size=1), count)
    assert count > 40
    np.testing.assert_array_equal(counted(found, "target_ids"), stream[: count * 64])
    np.testing.assert_array_equal(counted(found, "token_ids"), [encoder.sep, *stream[: count * 64 - 1]])


def test_joined_rows_are_full(batches):
    for batch in take(batches(), 20):
        assert batch["target_weights"].all()
        assert useful_tokens(batch) == 4 * 64


def test_held_out_rows_are_complete_and_always_alike_and_only_the_last_is_filled_up(encoder, bad):
    one, again = (list(held_out_batches(records(), encoder, ROWS, "text", 5, bad)) for _ in range(2))
    same(one, again)
    stream = np.concatenate([[*encoder(entry), encoder.sep] for entry in DOCUMENTS])
    np.testing.assert_array_equal(counted(one, "target_ids"), stream)
    weights = np.concatenate([batch["target_weights"] for batch in one])
    assert weights[:-1].all()
    assert weights[-1].sum() == len(stream) % 64 > 0


def test_rows_of_their_own_hold_a_document_each_cut_or_filled_up(encoder, bad):
    found = list(held_out_batches(records(), encoder, ALONE, "text", 7, bad))
    rows = {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}
    assert len(rows["token_ids"]) == len(DOCUMENTS)
    lengths = []
    for index, entry in enumerate(DOCUMENTS):
        tokens = encoder(entry)
        known = min(64, len(tokens) + 1)
        lengths.append(len(tokens))
        np.testing.assert_array_equal(rows["target_weights"][index], np.arange(64) < known)
        np.testing.assert_array_equal(rows["token_ids"][index, :known], [encoder.sep, *tokens][:known])
        np.testing.assert_array_equal(rows["target_ids"][index, :known], [*tokens, encoder.sep][:known])
        assert (rows["target_ids"][index, known:] == encoder.sep).all()
    assert min(lengths) < 63 < max(lengths)


def test_padding_is_counted_as_such(encoder, bad):
    found = list(held_out_batches(records(), encoder, ALONE, "text", 7, bad))
    expected = sum(min(64, len(encoder(entry)) + 1) for entry in DOCUMENTS)
    assert sum(useful_tokens(batch) for batch in found) == expected < len(DOCUMENTS) * 64


def test_the_seed_fixes_the_order(batches):
    one, again, other = (take(batches(seed=seed), 5) for seed in (0, 0, 1))
    same(one, again)
    assert not np.array_equal(one[0]["token_ids"], other[0]["token_ids"])


@pytest.mark.parametrize("texts", [DOCUMENTS, EVEN], ids=["any length", "just a row each"])
@pytest.mark.parametrize("packing", ["concat", "none"])
@pytest.mark.parametrize("done", [0, 3])
def test_batches_go_on_from_a_state_to_the_bit(batches, texts, packing, done):
    rows = CausalRows(63, packing)
    found = batches(rows=rows, source=records(texts))
    take(found, done)
    state = found.get_state()
    json.loads(state)
    expected = take(found, 5)
    resumed = batches(rows=rows, source=records(texts))
    resumed.set_state(state)
    same(take(resumed, 5), expected)


def test_an_unknown_packing_is_refused():
    with pytest.raises(UserError, match=r"data\.packing=tight"):
        CausalRows(64, "tight")


@pytest.fixture(scope="module")
def gpt2_file(tmp_path_factory):
    """A tokenizer of GPT-2's kind: bytes merged into pairs, one special token."""
    from tokenizers import ByteLevelBPETokenizer

    made = ByteLevelBPETokenizer()
    made.train_from_iterator(DOCUMENTS, 400, special_tokens=["<|endoftext|>"], show_progress=False)
    path = tmp_path_factory.mktemp("gpt2") / "tokenizer.json"
    made.save(str(path))
    return str(path)


def unread():
    raise AssertionError("a tokenizer was trained")
    yield ""


def test_a_byte_level_tokenizer_ends_documents_with_its_own_token(gpt2_file, tmp_path, bad):
    found = tokenizer.obtain(unread, "verses", 512, tmp_path, gpt2_file, ROWS.special)
    own = Encoder(found.path, ROWS.special)
    assert own.special == {"<|endoftext|>": own.sep}
    rows = list(held_out_batches(records(), own, ROWS, "text", 5, bad))
    stream = np.concatenate([[*own(entry), own.sep] for entry in DOCUMENTS])
    np.testing.assert_array_equal(counted(rows, "target_ids"), stream)
    assert np.count_nonzero(stream == own.sep) == len(DOCUMENTS)


def test_a_byte_level_tokenizer_keeps_case_and_every_character(gpt2_file):
    from tokenizers import Tokenizer

    tokens = Encoder(gpt2_file, ROWS.special)("In THE beginning — <|endoftext|>\n")
    assert Tokenizer.from_file(gpt2_file).decode(tokens.tolist()) == "In THE beginning — <|endoftext|>\n"
    assert Encoder(gpt2_file, ROWS.special).sep not in tokens


def test_an_encoder_travels_to_a_worker_process_with_what_it_needs(gpt2_file):
    own = Encoder(gpt2_file, ROWS.special)
    travelled = pickle.loads(pickle.dumps(own))
    np.testing.assert_array_equal(travelled(DOCUMENTS[0]), own(DOCUMENTS[0]))
    assert travelled.sep == own.sep


def test_a_byte_level_tokenizer_cannot_mask(gpt2_file, tmp_path):
    with pytest.raises(UserError, match=r"no \[PAD\] and no \[UNK\] and no \[CLS\]"):
        tokenizer.obtain(unread, "verses", 512, tmp_path, gpt2_file)


def test_a_tokenizer_that_ends_no_document_is_refused_with_what_would_do(tmp_path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")).save(str(tmp_path / "t.json"))
    with pytest.raises(UserError, match=r"it has no <\|endoftext\|>") as error:
        tokenizer.obtain(unread, "verses", 512, tmp_path, str(tmp_path / "t.json"), ROWS.special)
    assert "<|endoftext|>, or [PAD] [UNK] [CLS] [SEP] [MASK]" in error.value.allowed
