"""Builds models for the tests: from the shipped YAML files, abstractly or for real."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from flax import nnx

import trainbench
from trainbench.models import FAMILIES
from trainbench.models.layers import Policy

MODEL_DIR = Path(trainbench.__file__).parent / "configs" / "model"
ALIASES = {"vit": "vit_b16", "bert": "bert_base", "gpt2": "gpt2_124m"}
NAMES = sorted(path.stem for path in MODEL_DIR.glob("*.yaml") if path.stem not in ALIASES)

FLOAT32 = Policy()
BFLOAT16 = Policy(param_dtype=jnp.float32, compute_dtype=jnp.bfloat16)
BFLOAT16_FULL = Policy(param_dtype=jnp.bfloat16, compute_dtype=jnp.bfloat16)


def read_yaml(name: str) -> dict[str, Any]:
    return yaml.safe_load((MODEL_DIR / f"{name}.yaml").read_text())


def family_and_config(name: str) -> tuple[ModuleType, Any]:
    """The family module and the Config that a model's YAML file describes."""
    settings = read_yaml(name)
    family = FAMILIES[settings["family"]]
    sizes = {"image_size": settings["image_size"]} if settings["family"] == "vit" else {}
    return family, family.Config(**settings["architecture"], **sizes)


def abstract(name: str, policy: Policy = FLOAT32, **changes: Any) -> nnx.Module:
    """The model, with `changes` to its Config, as shapes: it takes no memory at any size."""
    family, config = family_and_config(name)
    config = dataclasses.replace(config, **changes)
    return nnx.eval_shape(lambda: family.Model(config, policy=policy, rngs=nnx.Rngs(0)))


def build(name: str, policy: Policy = FLOAT32, seed: int = 0, **changes: Any) -> nnx.Module:
    """The model with random numbers from numpy, which compiles nothing: initialisers take seconds."""
    graph, state = nnx.split(abstract(name, policy, **changes))
    random = np.random.default_rng(seed)
    flat = [
        (path, leaf.replace(_random_leaf(path[-1], leaf, random))) for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(flat))


def _random_leaf(name: str, leaf: nnx.Variable, random: np.random.Generator) -> jax.Array:
    centre = 1.0 if name in ("scale", "var") else 0.0
    spread = 0.1 if len(leaf.shape) < 2 else 1 / np.sqrt(np.prod(leaf.shape[:-1]))
    values = centre + spread * random.uniform(-1, 1, leaf.shape)
    return jnp.asarray(values, leaf.dtype)


def count_parameters(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def random_images(size: int, batch: int = 2, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (batch, size, size, 3))


def random_text(batch: int = 2, length: int = 16, vocabulary: int = 1024) -> dict[str, jax.Array]:
    """The inputs of bert, the last quarter of the second sequence being padding."""
    keys = jax.random.split(jax.random.key(1), 2)
    real = jnp.ones((batch, length), bool).at[1, 3 * length // 4 :].set(False)
    return {
        "token_ids": jax.random.randint(keys[0], (batch, length), 0, vocabulary),
        "segment_ids": jax.random.randint(keys[1], (batch, length), 0, 2),
        "padding_mask": real,
    }


def random_pair(
    batch: int = 2, length: int = 16, targets: int = 6, vocabulary: int = 1024
) -> dict[str, jax.Array]:
    """The inputs of t5, the last quarter of the second text being padding."""
    text = random_text(batch, length, vocabulary)
    decoder_ids = jax.random.randint(jax.random.key(2), (batch, targets), 0, vocabulary)
    return {
        "token_ids": text["token_ids"],
        "padding_mask": text["padding_mask"],
        "decoder_ids": decoder_ids,
    }


def find_products(jaxpr: Any) -> Iterator[Any]:
    """Every matrix product and convolution of a traced program, nested programs included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation
        for nested in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(nested):
                yield from find_products(nested)


def _is_jaxpr(value: object) -> bool:
    return hasattr(value, "eqns")
