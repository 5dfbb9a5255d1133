"""The section of the record that says how state, layers and batch were split."""

from trainbench.results import record
from trainbench.run import Parts
from trainbench.training import sharding


def parallel_section(parts: Parts) -> record.Parallel | None:
    """None for one device that computes nothing again."""
    placed = parts.placed
    if placed is None:
        return None
    config = placed.config
    if config.axes.devices == 1 and config.request.remat == "none":
        return None
    return record.Parallel(
        data=config.axes.data,
        fsdp=config.axes.fsdp,
        tensor=config.axes.tensor,
        batch_norm=config.batch_norm,
        remat=config.request.remat,
        state_bytes_per_device=parts.state_bytes,
        unsplit=sharding.unsplit(placed.state.params, placed.mesh),
    )
