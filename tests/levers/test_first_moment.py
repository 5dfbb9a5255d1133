import dataclasses

import jax
import jax.numpy as jnp
import pytest

from tests.levers.steps import compiled
from trainbench.levers.lever import NotProven
from trainbench.training.optimizer import OptimizerConfig, build

ADAPTIVE = {"b1": 0.9, "b2": 0.999, "eps": 1e-6}
MOMENTUM = {"momentum": 0.9, "nesterov": False}


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("sgd", MOMENTUM),
        ("lars", MOMENTUM | {"trust_coefficient": 0.001}),
        ("adamw", ADAPTIVE),
        ("lamb", ADAPTIVE),
    ],
)
def test_every_optimizer_keeps_its_first_moment_and_no_other_in_bfloat16(name, constants):
    config = OptimizerConfig(name, 1e-3, 0.0, **constants)
    params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}

    def dtypes(first_moment):
        state = jax.tree.leaves(build(config, 8, first_moment).init(params))
        return sorted(str(leaf.dtype) for leaf in state if leaf.ndim)

    second = len(params) if name in ("adamw", "lamb") else 0
    assert dtypes(None) == ["float32"] * (len(params) + second)
    assert dtypes(jnp.bfloat16) == ["bfloat16"] * len(params) + ["float32"] * second


def test_the_loss_stays_within_the_rounding_of_bfloat16():
    plain, lever = compiled("vit_tiny"), compiled("vit_tiny", "first_moment=bf16")
    assert lever.losses == pytest.approx(plain.losses, rel=5e-3)
    assert lever.losses != plain.losses


def test_it_is_seen_in_the_compiled_step():
    assert "first moments in bfloat16" in str(compiled("vit_tiny", "first_moment=bf16").proof("first_moment"))


def test_a_step_without_it_proves_nothing():
    plain, asked = compiled("vit_tiny"), compiled("vit_tiny", "first_moment=bf16")
    with pytest.raises(NotProven, match="first_moment=bf16"):
        dataclasses.replace(asked, program=plain.program).proof("first_moment")
    half = dataclasses.replace(asked.program, text=plain.program.text)
    with pytest.raises(NotProven, match="takes 0 bfloat16 arrays"):
        dataclasses.replace(asked, program=half).proof("first_moment")
