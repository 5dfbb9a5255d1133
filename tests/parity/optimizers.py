"""The same optimizer in optax and in torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optax

from tests.parity.hugging_face import Twin, torch

LEARNING_RATE = 1e-2
MOMENTUM = 0.9
# Strong enough that tensors whose gradient is zero move too.
WEIGHT_DECAY = 0.1
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
        lr=LEARNING_RATE,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        nesterov=True,
    )


def torch_adamw(twin: Twin) -> Any:
    """AdamW with default betas; the weight decay is apart from the gradient."""
    return torch.optim.AdamW(
        twin.model.parameters(), lr=LEARNING_RATE, eps=ADAM_EPSILON, weight_decay=WEIGHT_DECAY
    )


PAIRS = [
    Pair(
        "SGD",
        optax.chain(
            optax.add_decayed_weights(WEIGHT_DECAY),
            optax.sgd(LEARNING_RATE, momentum=MOMENTUM, nesterov=True),
        ),
        torch_sgd,
    ),
    Pair("AdamW", optax.adamw(LEARNING_RATE, eps=ADAM_EPSILON, weight_decay=WEIGHT_DECAY), torch_adamw),
]
PAIR_NAMES = [pair.name for pair in PAIRS]
