"""The small models learn what the shipped data holds, from several seeds: else their speed means nothing."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from trainbench.data.prepared import open_set
from trainbench.data.text import documents
from trainbench.data.tokenizer import Encoder

SEEDS = (0, 1, 2)


@pytest.fixture
def learnt(cache, tmp_path):
    def run(*overrides):
        environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        done = subprocess.run(
            [sys.executable, "-m", "trainbench", *overrides, "hydra.run.dir=out"],
            cwd=tmp_path,
            env=environment | {"TRAINBENCH_CACHE": str(cache)},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / "out" / "result.json").read_text())
        curve = np.array(record["loss"]["curve"])
        assert len(curve) > 10, "the whole curve is kept"
        assert curve[-5:, 1].mean() < curve[:5, 1].mean()
        return record

    return run


@pytest.mark.parametrize("seed", SEEDS)
def test_a_resnet_learns_digits(learnt, seed):
    record = learnt("model=resnet_tiny", "data=digits", "steps=400", f"seed={seed}")
    assert record["evaluation"]["samples"] == 297
    assert record["evaluation"]["value"] > 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bert_learns_more_of_the_text_than_how_frequent_its_words_are(learnt, cache, seed):
    record = learnt("model=bert_tiny", "data=kjv", "steps=1200", f"seed={seed}")
    most_frequent, entropy = without_context(record, cache)
    assert record["evaluation"]["metric"] == "masked_accuracy"
    assert record["evaluation"]["value"] > 2 * most_frequent
    assert record["evaluation"]["loss"] < entropy - 0.3


def test_a_gpt2_learns_more_of_the_text_than_how_frequent_its_words_are(learnt, cache):
    record = learnt("model=gpt2_tiny", "data=kjv", "steps=150", "seed=0")
    most_frequent, entropy = without_context(record, cache)
    assert record["evaluation"]["metric"] == "accuracy"
    assert record["evaluation"]["value"] > 2 * most_frequent
    assert record["evaluation"]["loss"] < entropy - 0.3


def without_context(record, cache):
    """(accuracy, loss) that a model which ignores the context can reach on the held-out text at best."""
    encoder = Encoder(str(cache / "tokenizers" / record["autos"]["data.tokenizer"]["value"]))
    records = open_set("kjv", cache / "tfds").records("test")
    tokens = np.concatenate([encoder(text) for text in documents(records, "text")])
    shares = np.bincount(tokens) / len(tokens)
    return shares.max(), -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))
