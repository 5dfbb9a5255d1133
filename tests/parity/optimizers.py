"""The same optimizer in optax and in torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optax

from tests.parity.hugging_face import Twin, torch

SGD_LEARNING_RATE = 1e-2
SGD_MOMENTUM = 0.9
# The decays are strong enough that tensors whose gradient is zero move too.
SGD_WEIGHT_DECAY = 0.1
ADAM_LEARNING_RATE = 1e-3
ADAM_WEIGHT_DECAY = 1.0
# AdamW divides a gradient by its own size, which turns rounding noise into full steps. This epsilon lies far
# above the noise, so that an element without a real gradient hardly moves on either side.
ADAM_EPSILON = 1e-3


@dataclass(frozen=True)
class Pair:
    """One optimizer twice: an optax transformation, and torch's optimizer of a twin's parameters."""

    name: str
    ours: optax.GradientTransformation
    theirs: Callable[[Twin], Any]


def torch_sgd(twin: Twin) -> Any:
    """SGD with Nesterov momentum; the weight decay is part of the gradient."""
    return torch.optim.SGD(
        twin.model.parameters(),
        lr=SGD_LEARNING_RATE,
        momentum=SGD_MOMENTUM,
        weight_decay=SGD_WEIGHT_DECAY,
        nesterov=True,
    )


def torch_adamw(twin: Twin) -> Any:
    """AdamW with default betas; the weight decay is apart from the gradient."""
    return torch.optim.AdamW(
        twin.model.parameters(), lr=ADAM_LEARNING_RATE, eps=ADAM_EPSILON, weight_decay=ADAM_WEIGHT_DECAY
    )


PAIRS = [
    Pair(
        "SGD",
        optax.chain(
            optax.add_decayed_weights(SGD_WEIGHT_DECAY),
            optax.sgd(SGD_LEARNING_RATE, momentum=SGD_MOMENTUM, nesterov=True),
        ),
        torch_sgd,
    ),
    Pair(
        "AdamW",
        optax.adamw(ADAM_LEARNING_RATE, eps=ADAM_EPSILON, weight_decay=ADAM_WEIGHT_DECAY),
        torch_adamw,
    ),
]
PAIR_NAMES = [pair.name for pair in PAIRS]
