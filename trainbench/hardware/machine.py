"""Facts about this machine for the result record: processor, memory, software, driver.

Nothing here imports JAX or touches a device, so a process that only starts others can
ask. What cannot be found out is None: a benchmark never fails for want of a version number.
"""

import os
import platform
import re
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

import trainbench

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "libtpu")
# Both change what XLA compiles: XLA_FLAGS everywhere, LIBTPU_INIT_ARGS in the TPU compiler.
_FLAG_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # SHA-1 and SHA-256 repositories
_NVIDIA = Path("/proc/driver/nvidia")
GIT_TIMEOUT_S = 5.0
_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Host:
    """The machine around the accelerator: CPU name, cores this process may use, memory in bytes."""

    cpu: str
    cores: int
    memory_bytes: int


def host() -> Host:
    """The host's processor and memory; `cores` counts only those that this process may run on."""
    return Host(
        cpu=cpu_name(_read(_CPU_INFO) or "") or platform.processor() or platform.machine(),
        cores=_usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
    )


def software(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Versions and settings that decide what was compiled, by the names of the result record.

    `xla_flags` holds XLA_FLAGS and LIBTPU_INIT_ARGS, each behind its name, or None where neither is set.
    """
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "trainbench": trainbench.__version__,
        "git_commit": _commit_with_changes(_checkout()),
        "xla_flags": compiler_flags(environment),
        "driver": nvidia_driver(_read(_NVIDIA / "version") or ""),
    }


def cpu_name(cpuinfo: str) -> str | None:
    """The processor's name in the text of /proc/cpuinfo; None where it has none (ARM servers).

    >>> cpu_name("processor : 0\\nmodel name : AMD EPYC 7B12\\n")
    'AMD EPYC 7B12'
    """
    match = re.search(r"^model name\s*:\s*(\S.*?)\s*$", cpuinfo, re.MULTILINE)
    return match.group(1) if match else None


def has_bfloat16_units(cpuinfo: str | None = None) -> bool:
    """Whether the processor multiplies bfloat16 itself, from the flags in /proc/cpuinfo.

    >>> has_bfloat16_units("flags : fpu avx512f avx512_bf16")
    True
    """
    text = (_read(_CPU_INFO) or "") if cpuinfo is None else cpuinfo
    return re.search(r"\b(?:avx512_bf16|amx_bf16|bf16)\b", text) is not None


def nvidia_driver(text: str) -> str | None:
    """The driver version in the text of /proc/driver/nvidia/version, or None.

    >>> nvidia_driver("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19")
    '535.104.05'
    """
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return match.group(1) if match else None


def nvidia_gpus(driver: Path = _NVIDIA) -> str | None:
    """The models of the machine's NVIDIA GPUs, by what the driver says of each; None where it has none."""
    texts = (_read(file) or "" for file in sorted(driver.glob("gpus/*/information")))
    models = (re.search(r"^Model:\s*(\S.*?)\s*$", text, re.MULTILINE) for text in texts)
    return ", ".join(match.group(1) for match in models if match) or None


def compiler_flags(environment: Mapping[str, str]) -> str | None:
    """The compiler flags set in the environment, each variable behind its name, or None.

    >>> compiler_flags({"XLA_FLAGS": "--xla_dump_to=d"})
    'XLA_FLAGS=--xla_dump_to=d'
    """
    found = [f"{name}={environment[name].strip()}" for name in _FLAG_VARIABLES if environment.get(name)]
    return " ".join(found) or None


def _commit_with_changes(checkout: Path | None) -> str | None:
    """The commit, with "-dirty" when tracked files differ from it, as `git describe --dirty` writes it."""
    commit = git_commit(checkout)
    if commit is None:
        return None
    command = ["git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return commit
    return f"{commit}-dirty" if done.stdout.strip() else commit


def git_commit(checkout: Path | None) -> str | None:
    """The commit checked out at `checkout`, or None where that is no git checkout.

    Read from git's own files (gitrepository-layout(5)) rather than by running git, which may be missing,
    slow on a network disk, or refuse a directory of another owner.
    """
    git = _git_directory(checkout / ".git") if checkout else None
    head = _read(git / "HEAD") if git else None
    if git is None or head is None:
        return None
    return _resolve(git, head.strip())


def _checkout() -> Path | None:
    """The root of the checkout that this package runs from; None for an installed wheel."""
    root = Path(trainbench.__file__).resolve().parents[1]
    try:
        project = tomllib.loads(_read(root / "pyproject.toml") or "").get("project", {})
    except tomllib.TOMLDecodeError:
        return None
    return root if project.get("name") == "trainbench" else None


def _git_directory(path: Path) -> Path | None:
    """Where git keeps HEAD: `.git` itself, or what a worktree's `.git` file points to."""
    if path.is_dir():
        return path
    pointer = _read(path) or ""
    if not pointer.startswith("gitdir:"):
        return None
    return (path.parent / pointer.removeprefix("gitdir:").strip()).resolve()


def _resolve(git: Path, head: str) -> str | None:
    """The commit that HEAD's text names: itself, a loose reference, or a packed one."""
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else None
    reference = head.removeprefix("ref:").strip()
    # A worktree keeps HEAD for itself but shares the references of the main checkout.
    common = (git / (_read(git / "commondir") or ".").strip()).resolve()
    packed = _packed(_read(common / "packed-refs") or "", reference)
    commit = (_read(git / reference) or _read(common / reference) or packed or "").strip()
    return commit if _COMMIT.fullmatch(commit) else None


def _packed(text: str, reference: str) -> str | None:
    for line in text.splitlines():
        commit, _, name = line.partition(" ")
        if name == reference:
            return commit
    return None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    """The text of a small file, or None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
