"""Optimizers by configuration, all from Optax."""

from dataclasses import dataclass

import jax
import optax
from jax.typing import DTypeLike

from trainbench.errors import UserError, nearest
from trainbench.models.blocks import is_stacked

# The constants that each optimizer has beside its rate and its weight decay.
CONSTANTS = {
    "sgd": ("momentum", "nesterov"),
    "adamw": ("b1", "b2", "eps"),
    "lamb": ("b1", "b2", "eps"),
    "lars": ("momentum", "nesterov", "trust_coefficient"),
}


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
    """True where weight decay applies: to matrices and kernels, not to biases and normalisation.

    Args:
      params: by path, so that those which hold all blocks are told.
    """
    return {path: _layer_ndim(path, array) > 1 for path, array in params.items()}


def _layer_ndim(path: str, array: jax.Array) -> int:
    """Dimensions of the parameter of one layer."""
    return array.ndim - int(is_stacked(path))


def scaled_rate(config: OptimizerConfig, global_batch_size: int) -> float:
    """The learning rate at this global batch size."""
    if not config.reference_batch:
        return config.learning_rate
    return config.learning_rate * global_batch_size / config.reference_batch


def validate(config: OptimizerConfig) -> None:
    """Nothing if the optimizer is known and `config` sets its constants and no others.

    Raises:
      UserError: it names what is unknown, missing, or without effect.
    """
    if config.name not in CONSTANTS:
        raise UserError(
            f"optimizer.name={config.name} is not known",
            allowed=", ".join(CONSTANTS),
            fix=f"optimizer={nearest(config.name, CONSTANTS) or 'sgd'}",
        )
    own = CONSTANTS[config.name]
    for constant in dict.fromkeys(name for names in CONSTANTS.values() for name in names):
        is_set = getattr(config, constant) is not None
        if is_set != (constant in own):
            problem = (
                f"has no effect on {config.name}" if is_set else f"is not set, and {config.name} needs it"
            )
            raise UserError(
                f"optimizer.{constant} {problem}",
                allowed=", ".join(f"optimizer.{name}" for name in own),
                fix=f"optimizer={config.name} alone, which sets what it needs",
            )


def build(
    config: OptimizerConfig, global_batch_size: int, first_moment: DTypeLike | None = None
) -> optax.GradientTransformation:
    """The Optax transformation of `config`; its state takes the parameters' dtype.

    Args:
      first_moment: the dtype of the running mean of gradients, if another than the parameters'.

    Raises:
      UserError: see `validate`.
    """
    validate(config)
    rate, decay = scaled_rate(config, global_batch_size), config.weight_decay
    if config.name == "sgd":
        return optax.chain(
            optax.add_decayed_weights(decay, mask=decayed),
            optax.sgd(
                rate,
                momentum=config.momentum,
                nesterov=bool(config.nesterov),
                accumulator_dtype=first_moment,
            ),
        )
    if config.name == "lars":
        return _lars(config, rate, first_moment)
    if config.name == "lamb":
        return _lamb(config, rate, first_moment)
    return optax.adamw(
        rate,
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=decay,
        mask=decayed,
        mu_dtype=first_moment,
    )


def by_layer(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
    """A transformation without a state, of which each layer in a stack of several is a parameter by itself.

    A trust ratio is a ratio of norms of one layer (You et al. 2017, arXiv:1708.03888).
    """

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        def of_one(update: jax.Array, parameter: jax.Array) -> jax.Array:
            changed: jax.Array = transformation.update(update, state, parameter)[0]
            return changed

        assert params is not None
        scaled = {
            path: update
            if isinstance(update, optax.MaskedNode)
            else (jax.vmap(of_one) if is_stacked(path) else of_one)(update, params[path])
            for path, update in updates.items()
        }
        return scaled, state

    return optax.GradientTransformation(transformation.init, update)


def _lars(
    config: OptimizerConfig, rate: float, first_moment: DTypeLike | None
) -> optax.GradientTransformation:
    """`optax.lars`, whose parts these are, with a dtype for its momentum."""
    ratio = by_layer(optax.scale_by_trust_ratio(trust_coefficient=config.trust_coefficient))
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
        optax.masked(ratio, mask=decayed),
        optax.scale_by_learning_rate(rate),
        optax.trace(config.momentum, nesterov=bool(config.nesterov), accumulator_dtype=first_moment),
    )


def _lamb(
    config: OptimizerConfig, rate: float, first_moment: DTypeLike | None
) -> optax.GradientTransformation:
    """`optax.lamb`, whose parts these are, with a dtype for its first moment."""
    return optax.chain(
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps, mu_dtype=first_moment),
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
        by_layer(optax.scale_by_trust_ratio()),
        optax.scale_by_learning_rate(rate),
    )
