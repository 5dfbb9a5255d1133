"""Steps of a ResNet of two small stages: it has a 1x1 kernel, and with `IMAGENET` the stem of large ones."""

import dataclasses

import numpy as np
import pytest

from tests.levers.steps import Compiled, compiled
from trainbench.levers.lever import NotProven

TWO_STAGES = "model.architecture.depths=[1,1]"
IMAGENET = "model.architecture.stem=imagenet"
PLAIN = ("convolution=convolution", "batch_statistics=one_pass")


def step(*overrides: str) -> Compiled:
    """The step with these overrides, and without the levers that a CPU has by default."""
    keys = {override.partition("=")[0] for override in overrides}
    plain = PLAIN + (("max_pool=windows",) if IMAGENET in overrides else ())
    others = (one for one in plain if one.partition("=")[0] not in keys)
    return compiled("resnet_tiny", TWO_STAGES, *others, *overrides)


def assert_unproven(lever: Compiled, plain: Compiled, key: str, match: str) -> None:
    """The proof of a lever fails in a program without it."""
    with pytest.raises(NotProven, match=match):
        dataclasses.replace(lever, program=plain.program).proof(key)


def assert_same_losses(lever: Compiled, plain: Compiled) -> None:
    np.testing.assert_allclose(lever.losses, plain.losses, rtol=2e-4)
