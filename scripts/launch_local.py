"""Run one benchmark in several real processes on this machine.

    python scripts/launch_local.py -n 2 --devices-per-process 2 -- model=resnet_tiny batch_size=8 steps=20

The processes meet at a free port. Without GPUs each has simulated CPU devices; where CUDA_VISIBLE_DEVICES, or
nvidia-smi, names GPUs, each has an equal part of them. What process 0 prints is shown, and of the others what
went wrong. When one fails, or on Ctrl-C or SIGTERM, the others are ended too; the exit code is the worst.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

POLL_S = 0.1
# After the first failure: the others notice by themselves, and say more than a signal would.
NOTICE_S = 90.0
# After SIGTERM: what was measured is saved.
SAVE_S = 30.0
SIMULATED = "--xla_force_host_platform_device_count"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the processes and return the worst of their exit codes."""
    options = _options(arguments)
    # As Ctrl-C: the processes are told to stop, and what they have measured is saved.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    port = _free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "trainbench", *options.overrides, *_distributed(port, options.n, index)],
            env=_environment(index, options.n, options.devices_per_process),
            # A terminal's Ctrl-C, or a scheduler's SIGTERM to all, reaches them through this process alone:
            # twice said, it would mean to stop at once and lose what was measured.
            start_new_session=True,
        )
        for index in range(options.n)
    ]
    try:
        _wait(processes)
    finally:
        _end(processes)
    return max((_code(process) for process in processes), key=abs)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=_count, default=2, help="processes")
    parser.add_argument("--devices-per-process", type=_count, help="simulated CPU devices; default: 1")
    parser.add_argument("overrides", nargs="*", help="after --: what the benchmark is, as for trainbench")
    return parser.parse_args(arguments)


def _count(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is not a number from 1")
    return number


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _distributed(port: int, count: int, index: int) -> list[str]:
    return [
        f"distributed.coordinator=127.0.0.1:{port}",
        f"distributed.num_processes={count}",
        f"distributed.process_id={index}",
    ]


def _environment(index: int, count: int, simulated: int | None) -> dict[str, str]:
    """This process's environment, with the devices of process `index`."""
    environment = dict(os.environ)
    gpus = [] if simulated else _gpus()
    if gpus:
        share = len(gpus) // count
        if not share:
            sys.exit(f"launch_local: {count} processes, but {len(gpus)} GPUs; use -n {len(gpus)} or fewer")
        own = gpus[index * share : (index + 1) * share]
        return environment | {"CUDA_VISIBLE_DEVICES": ",".join(own)}
    flags = re.sub(rf"{SIMULATED}=\d+", "", environment.get("XLA_FLAGS", ""))
    number = str(simulated or 1)
    # Collectives on the CPU block threads of the pool that computes: it needs more of them than devices.
    threads = str(max(2 * int(number), os.cpu_count() or 1))
    own = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": number, "XLA_FLAGS": flags.strip()}
    return {"PJRT_NPROC": threads} | environment | own


def _gpus() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    if not shutil.which("nvidia-smi") or os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def _wait(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """None, when all have ended, or the first failure was long enough ago."""
    failed_s: float | None = None
    while any(process.poll() is None for process in processes):
        if failed_s is None and any(process.returncode for process in processes):
            failed_s = time.monotonic()
        if failed_s is not None and time.monotonic() - failed_s > NOTICE_S:
            return
        time.sleep(POLL_S)


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """None, after all have ended: asked to first, then made to."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + SAVE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(max(0.0, deadline - time.monotonic()))
        if process.poll() is None:
            process.kill()
            process.wait()


def _code(process: "subprocess.Popen[bytes]") -> int:
    """The exit code as a shell gives it: 128 and the signal that ended the process."""
    code = process.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
