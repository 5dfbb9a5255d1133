"""The small models learn what the shipped data holds, from several seeds: else their speed means nothing."""

import numpy as np
import pytest

from tests import commands
from trainbench.data.prepared import open_set
from trainbench.data.text import documents
from trainbench.data.tokenizer import Encoder

SEEDS = (0, 1, 2)


@pytest.fixture
def learnt(cache, tmp_path):
    def run(*overrides):
        arguments = (*overrides, "hydra.run.dir=out")
        done = commands.run(cache, tmp_path, *arguments, module=commands.BRIEF, timeout_s=500)
        assert done.returncode == 0, done.stderr
        record = commands.result_of(tmp_path / "out")
        curve = np.array(record["loss"]["curve"])
        assert len(curve) > 10, "the whole curve is kept"
        assert curve[-5:, 1].mean() < curve[:5, 1].mean()
        return record

    return run


# Each takes a minute or more; `make test-slow` has the others.
ONE_SEED = [SEEDS[0], *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])]


@pytest.mark.parametrize("seed", ONE_SEED)
def test_a_resnet_learns_digits(learnt, seed):
    record = learnt("model=resnet_tiny", "data=digits", "steps=400", f"seed={seed}")
    assert record["evaluation"]["samples"] == 297
    assert record["evaluation"]["value"] > 0.95


@pytest.mark.parametrize("seed", ONE_SEED)
def test_a_bert_learns_more_of_the_text_than_how_frequent_its_words_are(learnt, cache, seed):
    record = learnt("model=bert_tiny", "data=kjv", "steps=1200", f"seed={seed}")
    most_frequent, entropy = without_context(record, cache)
    assert record["evaluation"]["metric"] == "masked_accuracy"
    assert record["evaluation"]["value"] > 2 * most_frequent
    assert record["evaluation"]["loss"] < entropy - 0.3


@pytest.mark.parametrize("model", ["gpt2_tiny", pytest.param("llama_tiny", marks=pytest.mark.slow)])
def test_a_decoder_learns_more_of_the_text_than_how_frequent_its_words_are(learnt, cache, model):
    record = learnt(f"model={model}", "data=kjv", "steps=150", "seed=0")
    most_frequent, entropy = without_context(record, cache)
    assert record["evaluation"]["metric"] == "accuracy"
    assert record["evaluation"]["value"] > 2 * most_frequent
    assert record["evaluation"]["loss"] < entropy - 0.3


@pytest.mark.slow
def test_a_t5_learns_more_of_the_text_than_how_frequent_its_words_are(learnt, cache):
    record = learnt("model=t5_tiny", "data=kjv", "steps=1000", "seed=0")
    _, entropy = without_context(record, cache)
    # Of its 14 targets, 3 sentinels and the end may be known beforehand.
    assert record["evaluation"]["loss"] < 10 / 14 * entropy - 0.3


def without_context(record, cache):
    """(accuracy, loss) that a model which ignores the context can reach on the held-out text at best."""
    encoder = Encoder(str(cache / "tokenizers" / record["autos"]["data.tokenizer"]["value"]))
    records = open_set("kjv", cache / "tfds").records("test")
    tokens = np.concatenate([encoder(text) for text in documents(records, "text")])
    shares = np.bincount(tokens) / len(tokens)
    return shares.max(), -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))
