import dataclasses

import jax
import numpy as np
import pytest

from tests.building import request
from tests.levers.steps import compiled
from trainbench import workload
from trainbench.errors import UserError
from trainbench.levers import registry, vocabulary
from trainbench.levers.lever import NotProven, Situation
from trainbench.levers.values import Levers
from trainbench.training.parallel import Axes
from trainbench.training.state import parameter_count

# The tiny models have 1,024 tokens.
PADDED = ("vocabulary_multiple=100", "model.architecture.dropout_rate=0")


def test_the_losses_are_those_of_tables_without_added_rows():
    plain, padded = compiled("bert_tiny", PADDED[1]), compiled("bert_tiny", *PADDED)
    assert padded.losses == pytest.approx(plain.losses, rel=1e-6)
    assert padded.proof("vocabulary_multiple") == (
        "embeddings/token, head/bias: 1,100 rows in the compiled step"
    )
    with pytest.raises(NotProven, match="takes no table of 1,100 rows"):
        dataclasses.replace(padded, program=plain.program).proof("vocabulary_multiple")


def test_a_program_that_takes_other_tables_is_no_proof():
    plain, padded = compiled("bert_tiny", PADDED[1]), compiled("bert_tiny", *PADDED)
    mixed = dataclasses.replace(padded.program, text=plain.program.text)
    with pytest.raises(NotProven, match="takes no table of 1,100 rows"):
        dataclasses.replace(padded, program=mixed).proof("vocabulary_multiple")


@pytest.mark.parametrize("model", ["gpt2_tiny", "llama_tiny", "t5_tiny", "bert_tiny"])
def test_added_rows_are_no_parameters_of_the_model(model):
    asked = request(f"model={model}", "model.architecture.depth=1")
    task = workload.make_task(asked)
    plain = workload.build_at(asked, task, 4)
    padded = workload.build_at(asked, task, 4, levers=Levers(vocabulary_multiple=100))
    assert padded.parameters == plain.parameters == parameter_count(plain.abstract_state)
    assert parameter_count(padded.abstract_state) > plain.parameters


def test_the_rows_of_tokens_begin_as_they_would_and_the_added_ones_at_zero():
    asked = request("model=t5_tiny", "model.architecture.depth=1")

    @jax.jit
    def both():
        task = workload.make_task(asked)
        states = (
            workload.build_at(asked, task, 4, levers=Levers(vocabulary_multiple=multiple)).make_state()
            for multiple in (1, 100)
        )
        return [{path: state.params[path] for path in ("token", "head/kernel")} for state in states]

    plain, padded = both()
    for path, axis in (("token", 0), ("head/kernel", 1)):
        expected = np.zeros(padded[path].shape, np.float32)
        tokens = (slice(1024),) if axis == 0 else (slice(None), slice(1024))
        expected[tokens] = plain[path]
        assert padded[path].shape[axis] == 1100
        np.testing.assert_array_equal(padded[path], expected)


@pytest.mark.parametrize(
    ("platform", "axes", "model", "value", "why"),
    [
        ("cpu", Axes(), "gpt2_124m", 1, "nothing to gain"),
        ("tpu", Axes(), "gpt2_124m", 1, "pads all arrays"),
        ("gpu", Axes(), "gpt2_124m", 128, "tensor cores"),
        ("gpu", Axes(), "llama_8b", 1, "nothing to gain"),
        ("tpu", Axes(2, 2, 2), "gpt2_124m", 128, "cannot be split over 4 devices"),
        ("tpu", Axes(1, 3, 1), "gpt2_124m", 384, "cannot be split over 3 devices"),
    ],
)
def test_the_default_follows_the_hardware_and_the_mesh(platform, axes, model, value, why):
    found = registry.resolve(Situation(request(f"model={model}"), platform, None, axes))[1]
    assert found["vocabulary_multiple"].value == value
    assert why in found["vocabulary_multiple"].reason


def test_a_vocabulary_that_is_a_multiple_already_needs_no_rows():
    plain = compiled("bert_tiny", PADDED[1])
    assert "already" in vocabulary.LEVER.prove(128, plain.program)


def test_images_have_no_tokens():
    with pytest.raises(UserError, match="vocabulary_multiple=128 does not apply"):
        registry.resolve(Situation(request("model=vit_tiny", "vocabulary_multiple=128"), "cpu"))
