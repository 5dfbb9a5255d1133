"""What compiled training steps send, beside what theory expects; a program of its own, as it needs 8 devices:

    python -m tests.compiled.steps TARGET OVERRIDE,... OVERRIDE,...

compiles a step for each argument after the first and prints a list of JSON. TARGET is "cpu", for 8 simulated
devices, a topology of TPUs such as v6e:2x4, or h100-8.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

DEVICES = 8
TPUS = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


def compiled(target: str, cases: Sequence[Sequence[str]], **environment: str) -> list[dict[str, Any]]:
    """For each case, its overrides compiled for a target: what `_case` tells."""
    command = [sys.executable, "-m", "tests.compiled.steps", target, *(",".join(case) for case in cases)]
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"}
    done = subprocess.run(
        command, env=os.environ | flags | environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _case(target: str, overrides: Sequence[str]) -> dict[str, Any]:
    """By kind the bytes that a device sends per optimizer step, compiled and expected, and of parameters."""
    from tests import building
    from trainbench import autos, placement, workload
    from trainbench.compiled import hlo
    from trainbench.compiled.traffic import traffic
    from trainbench.forecast.compiler import compilers
    from trainbench.training import exchange

    devices, request = _devices(target), building.request(*overrides)
    task = workload.make_task(request)
    config = autos.resolve(request, task, devices.platform, devices.count, lambda options: True)
    placed = placement.place(workload.build(config, task), config, devices.first(config.axes.devices))
    options = config.compiler_options if target == "cpu" else compilers.OPTIONS.get(devices.platform, {})
    found = traffic(hlo.parse(placed.lower(str).stage.compile(compiler_options=options).as_text() or ""))
    precision = request.precision
    element = exchange.element_bytes(
        devices.platform, precision.param_dtype, precision.compute_dtype, request.gradient_accumulation
    )
    sent: dict[str, float] = {}
    for one in found.sent:
        sent[one.kind] = sent.get(one.kind, 0.0) + one.bytes / config.steps_per_call
    parameters = placed.state.params
    return {
        "sent": sent,
        "expected": exchange.expected_bytes(parameters.values(), element),
        "unknown": found.unknown,
        "groups": sorted({one.group_size for one in found.sent}),
        "parameters": {name: array.size * array.dtype.itemsize for name, array in parameters.items()},
        "statistics": sum(array.size * array.dtype.itemsize for array in placed.state.statistics.values()),
    }


def _devices(target: str) -> Any:
    import jax

    from trainbench.training.device import Devices

    if target == "cpu":
        handles = jax.devices("cpu")
    elif target.startswith("h100"):
        from trainbench.forecast import targets
        from trainbench.forecast.compiler import topology

        handles = topology.devices(targets.find(target)).handles
    else:
        from jax.experimental import topologies

        handles = topologies.get_topology_desc(platform="tpu", topology_name=target).devices
    return Devices(tuple(handles), handles[0].platform, "", None)


if __name__ == "__main__":
    print(json.dumps([_case(sys.argv[1], case.split(",")) for case in sys.argv[2:]]))
