"""What can be asked of a device for one request: the levers with their values, and why others cannot be had.

It takes the device to know that, so it is asked in a process of its own, which gives the device back.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainbench.errors import ExitCode, UserError
from trainbench.processes import child


@dataclass(frozen=True)
class Choice:
    """One lever here.

    Attributes:
      default: the value where none is asked for, or that which the request has.
      possible: the values that can be had, the default among them.
      refused: why the others cannot be had, by value as text.
    """

    default: Any
    possible: tuple[Any, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Possible:
    """What there is to choose.

    Attributes:
      platform: "cpu", "gpu" or "tpu".
      batch_size: samples per device where none are asked for.
      choices: by configuration key, those that apply to the model.
    """

    platform: str
    batch_size: int
    choices: Mapping[str, Choice]


class Refused(Exception):
    """The process that was asked ended with this exit code, and has said why."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = ExitCode(code) if code in tuple(ExitCode) else ExitCode.FAILED_CHECK


def ask(overrides: Sequence[str]) -> Possible:
    """What this machine's devices can do of the request that these overrides compose.

    Raises:
      Refused: the request cannot be met here, or the user stopped it.
    """
    process = child.start(overrides, subprocess.PIPE, module="trainbench.tuning.possible")
    assert process.stdout is not None
    with process.stdout:
        text = process.stdout.read()
    code = child.wait(process)
    if code != ExitCode.OK:
        raise Refused(code)
    found = json.loads(text.splitlines()[-1])
    choices = {
        key: Choice(one["default"], tuple(one["possible"]), one["refused"])
        for key, one in found["choices"].items()
    }
    return Possible(found["platform"], found["batch_size"], choices)


def _answer(overrides: Sequence[str]) -> Possible:
    # Imported here: the parent only asks.
    from trainbench import autos, config, recompose, workload
    from trainbench.config import Request
    from trainbench.levers import registry
    from trainbench.levers.lever import Lever
    from trainbench.training.device import all_devices
    from trainbench.training.precision import check_supported

    tree = recompose.compose(overrides)
    request, devices = config.parse(tree), all_devices()
    check_supported(request.precision, devices)

    def resolved(request: Request) -> autos.RunConfig:
        return autos.resolve(
            request,
            workload.make_task(request),
            devices.platform,
            devices.count,
            compute_capability=devices.compute_capability,
        )

    def choice(lever: Lever) -> Choice:
        possible, refused = [], {}
        default = getattr(request if lever.of_request else plain.levers, lever.key)
        for value in dict.fromkeys((default, *lever.values)):
            try:
                resolved(config.parse({**tree, lever.key: value}))
            except UserError as error:
                refused[str(value)] = error.problem
            else:
                possible.append(value)
        return Choice(default, tuple(possible), refused)

    plain = resolved(request)
    applying = (lever for lever in registry.LEVERS.values() if lever.applies(request))
    return Possible(devices.platform, plain.batch_size, {lever.key: choice(lever) for lever in applying})


def main(overrides: Sequence[str]) -> int:
    """Print the answer as a line of JSON; the exit code."""
    from trainbench.report.console import error_screen

    child.begin()
    try:
        print(json.dumps(asdict(_answer(overrides))), flush=True)
    except UserError as error:
        print(error_screen(error), file=sys.stderr)
        return ExitCode.USER_ERROR
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
