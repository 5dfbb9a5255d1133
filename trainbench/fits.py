"""What cannot fit into memory is refused before it is tried."""

import jax

from trainbench.autos import RunConfig
from trainbench.data.synthetic import POOL
from trainbench.errors import OutOfMemory
from trainbench.training.device import Devices
from trainbench.workload import Workload


def input_bytes(work: Workload, config: RunConfig, devices: Devices) -> int:
    """The least memory, per device, that the input alone takes: whole steps, also where gradients accumulate.

    On a CPU the batches kept on the host come out of the same memory.
    """
    batch = sum(array.nbytes for array in work.spec.values()) // config.axes.replicas
    if config.input == "resident":
        return batch
    on_host = POOL if config.input in ("host", "all") and devices.platform == "cpu" else 0
    return batch * (config.steps_per_call + on_host)


def refuse_above(limit: int | None, needed: int, what: str) -> None:
    """Stop before an allocation that cannot succeed."""
    if limit is not None and needed > limit:
        raise OutOfMemory(
            f"{what} needs {needed / 2**30:,.1f} GiB per device; {limit / 2**30:,.1f} GiB are available"
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether the runtime says so: XLA's RESOURCE_EXHAUSTED, CUDA's and the allocators' "out of memory".

    PyTorch's errors are told by name and words, as it is not always installed.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    said = "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower() or "OUT_OF_MEMORY" in text
    of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text
    return of_torch or (isinstance(error, jax.errors.JaxRuntimeError) and said)
