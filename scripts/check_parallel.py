"""Every model in every kind of parallelism against one device: the same losses, step by step.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python scripts/check_parallel.py

Trains each tiny model for 20 steps in float32, on another synthetic batch each step, once on one device and
once in each mode on 8, and prints how far the losses are apart. The arithmetic is the same but for the order
of sums. Ends with 1 where a loss is further apart than the bound that is printed.
Overrides apply to all: `model=vit_tiny parallel=fsdp` checks one case, `remat=full` and
`gradient_accumulation=2` all of them with these.
"""

import functools
import itertools
import sys
from collections.abc import Sequence

import hydra
import jax
import numpy as np
from omegaconf import OmegaConf

from trainbench import autos, config, placement, workload
from trainbench.data.synthetic import host_batches
from trainbench.training import parallel
from trainbench.training.device import Devices, all_devices

STEPS = 20
GLOBAL_BATCH = 32
DEVICES = 8
# Largest relative difference of a loss: sums in another order differ by some 1e-7 each, and 20 steps make
# somewhat more of it. Batch statistics of each replica alone already make 5e-4.
BOUND = 2e-5

MODELS = ("resnet_tiny", "vit_tiny", "bert_tiny", "gpt2_tiny", "llama_tiny", "t5_tiny")
MODES = ("data", "fsdp", "tensor", "data_fsdp", "data_tensor", "fsdp_tensor", "data_fsdp_tensor")


def losses(overrides: Sequence[str], devices: Devices) -> np.ndarray:
    """The loss of each step of what these overrides train on these devices."""
    asked = config.parse(_tree(overrides))
    task = workload.make_task(asked)
    settled = autos.resolve(asked, task, devices.platform, devices.count)
    used = devices.first(settled.axes.devices)
    work = workload.build(settled, task)
    placed = placement.place(work, settled, used)
    step = placed.compile(lambda phase: None).call
    state = jax.jit(work.make_state, out_shardings=placed.state_shardings)()
    share = parallel.share(placed.mesh, 0)
    found = []
    for batch in itertools.islice(host_batches(work.spec, 0), STEPS):
        state, metrics = step(state, parallel.put(batch, placed.batch_sharding, share))
        found.append(float(metrics["loss"]))
    return np.asarray(found)


def difference(model: str, mode: str, more: Sequence[str], devices: Devices) -> float:
    """The largest relative difference of a loss to that of one device."""
    alone = _alone(model, tuple(more), devices)
    together = losses(_asked(model, f"parallel={mode}", *more), devices)
    return float(np.max(np.abs(together - alone) / np.abs(alone)))


@functools.cache
def _alone(model: str, more: tuple[str, ...], devices: Devices) -> np.ndarray:
    return losses(_asked(model, *more), devices.first(1))


def _asked(model: str, *more: str) -> list[str]:
    common = (f"global_batch_size={GLOBAL_BATCH}", "precision=fp32", "batch_norm=synchronised")
    return [f"model={model}", *common, *_heads(model), *more]


def _heads(model: str) -> tuple[str, ...]:
    """As many heads as devices, which share them; where heads share keys, as many of these."""
    if model == "resnet_tiny":
        return ()
    if model == "llama_tiny":
        return (f"model.architecture.heads={2 * DEVICES}", f"model.architecture.key_heads={DEVICES}")
    return (f"model.architecture.heads={DEVICES}",)


def _tree(overrides: Sequence[str]) -> dict[str, object]:
    with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
        composed = OmegaConf.to_container(hydra.compose("config", list(overrides)), resolve=True)
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def main(overrides: Sequence[str]) -> int:
    """Print the table; 1 where a loss is too far apart."""
    devices = all_devices()
    if devices.count != DEVICES:
        sys.exit(
            f"{devices.count} devices here; set XLA_FLAGS=--xla_force_host_platform_device_count={DEVICES}"
        )
    given = dict(one.partition("=")[::2] for one in overrides)
    models = [given.pop("model")] if "model" in given else MODELS
    modes = [given.pop("parallel")] if "parallel" in given else MODES
    more = [f"{key}={value}" for key, value in given.items()]
    print(f"{STEPS} steps, float32, {GLOBAL_BATCH} samples a step; the largest relative difference of a loss")
    all_alike = True
    for model, mode in itertools.product(models, modes):
        found = difference(model, mode, more, devices)
        print(f"{model:12} {mode:18} {found:9.1e}", flush=True)
        # A loss that is not finite is no difference below the bound.
        all_alike &= found <= BOUND
    print(f"the bound is {BOUND:g}")
    return int(not all_alike)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
