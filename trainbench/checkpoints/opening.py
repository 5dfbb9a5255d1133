"""From a request to the session that keeps its checkpoints."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jax
import jaxlib

from trainbench import __version__
from trainbench.autos import RunConfig
from trainbench.checkpoints import files, identity
from trainbench.checkpoints.session import MESH, Session, start
from trainbench.checkpoints.starting import Wanted
from trainbench.distributed.team import Alone, Team
from trainbench.hardware import machine
from trainbench.training.device import Devices
from trainbench.training.parallel import Axes
from trainbench.training.state import TrainState


def open_session(
    config: RunConfig,
    tree: Mapping[str, Any],
    abstract: TrainState,
    global_batch_size: int,
    devices: Devices,
    started: datetime,
    team: Team | None = None,
) -> Session:
    """The session of a run with this configuration, restored where there is something to go on from.

    Args:
      abstract: the state as it lies on the devices.

    Raises:
      UserError: the directory can't be used, or what it holds is damaged or another run's.
    """
    team, request = team or Alone(), config.request
    settings = identity.identity(tree, request.checkpoint)
    directory = identity.directory(request.model.name, settings, request.checkpoint)
    return start(
        Wanted(directory, request.model.label, settings, files.array_names(abstract)),
        request.checkpoint,
        abstract,
        conditions=_of_process_0(team, conditions(devices, config.axes, len(team.names))),
        global_batch_size=global_batch_size,
        device_count=devices.count,
        started=started,
        team=team,
    )


def _of_process_0(team: Team, own: dict[str, str]) -> dict[str, str]:
    """Its conditions, by which all processes decide whether earlier blocks count."""
    found: dict[str, str] = json.loads(team.exchange(json.dumps(own))[0])
    return found


def conditions(devices: Devices, axes: Axes, processes: int) -> dict[str, str]:
    """What a step's time depends on beside the configuration: blocks are of one window if these are equal."""
    return {
        "the device": devices.kind,
        "the number of devices": str(devices.count),
        MESH: str(axes),
        "the number of processes": str(processes),
        "the CPU": str(machine.host().cpu),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "trainbench": __version__,
        **{name: os.environ.get(name, "") for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")},
    }
