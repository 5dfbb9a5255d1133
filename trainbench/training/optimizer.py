"""Optimizers by configuration, all from Optax."""

from dataclasses import dataclass

import jax
import optax

from trainbench.errors import UserError, nearest

NAMES = ("sgd", "adamw", "lamb", "lars")


@dataclass(frozen=True)
class OptimizerConfig:
    """One optimizer's settings, as its YAML file gives them; a field that the optimizer lacks is None.

    `learning_rate` holds at `reference_batch` samples per step and scales linearly with the global batch
    (Goyal et al. 2017, arXiv:1706.02677, section 2.1); `reference_batch=None` keeps it as it is.
    """

    name: str
    learning_rate: float
    weight_decay: float
    reference_batch: int | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    b1: float | None = None
    b2: float | None = None
    eps: float | None = None
    trust_coefficient: float | None = None


def decayed(params: optax.Params) -> optax.Params:
    """True where weight decay applies: to matrices and kernels, not to biases and normalisation."""
    return jax.tree.map(_is_matrix, params)


def _is_matrix(array: jax.Array) -> bool:
    return array.ndim > 1


def build(config: OptimizerConfig, global_batch_size: int) -> optax.GradientTransformation:
    """The Optax transformation of `config`; its state takes the parameters' dtype."""
    scale = global_batch_size / config.reference_batch if config.reference_batch else 1.0
    rate, decay = config.learning_rate * scale, config.weight_decay
    if config.name == "sgd":
        return optax.chain(
            optax.add_decayed_weights(decay, mask=decayed),
            optax.sgd(rate, momentum=config.momentum, nesterov=bool(config.nesterov)),
        )
    if config.name == "adamw":
        return optax.adamw(rate, **_adam_constants(config), weight_decay=decay, mask=decayed)
    if config.name == "lamb":
        return optax.lamb(rate, **_adam_constants(config), weight_decay=decay, mask=decayed)
    if config.name == "lars":
        return optax.lars(
            rate,
            weight_decay=decay,
            weight_decay_mask=decayed,
            trust_ratio_mask=decayed,
            trust_coefficient=_required(config, "trust_coefficient"),
            momentum=_required(config, "momentum"),
            nesterov=bool(config.nesterov),
        )
    near = nearest(config.name, NAMES)
    raise UserError(
        f"optimizer.name={config.name!r} is not known",
        allowed=", ".join(NAMES),
        fix=f"optimizer={near}" if near else "choose one of these",
    )


def _adam_constants(config: OptimizerConfig) -> dict[str, float]:
    return {name: _required(config, name) for name in ("b1", "b2", "eps")}


def _required(config: OptimizerConfig, field: str) -> float:
    value = getattr(config, field)
    if value is None:
        raise UserError(f"optimizer.{field} is not set", allowed="a number", fix=f"+optimizer.{field}=VALUE")
    return float(value)
