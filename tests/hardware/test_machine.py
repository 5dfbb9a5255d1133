"""Facts about the machine, and that asking for them starts nothing."""

import os
import platform
import subprocess
import sys
from importlib import metadata

import psutil
import pytest

from trainbench.hardware import machine

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def test_host_describes_this_machine():
    host = machine.host()
    assert host.cpu
    assert 1 <= host.cores <= psutil.cpu_count()
    assert host.memory_bytes == psutil.virtual_memory().total


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_cores_counts_only_those_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert machine.host().cores == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_processor_without_a_name_falls_back_to_the_platform(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "absent")
    assert machine.host().cpu == (platform.processor() or platform.machine())
    assert machine.cpu_name("processor : 0\nCPU implementer : 0x41\n") is None
    assert machine.cpu_name("model name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\nflags: x\n").startswith("Intel")


def test_software_reports_what_is_installed():
    software = machine.software({})
    assert software["python"] == platform.python_version()
    assert software["jax"] == metadata.version("jax")
    assert software["xla_flags"] is None
    assert set(software) == {
        "python", "jax", "jaxlib", "flax", "optax", "libtpu",
        "trainbench", "git_commit", "xla_flags", "driver",
    }  # fmt: skip


def test_a_package_that_is_missing_has_no_version():
    assert machine._version("no-such-package-of-trainbench") is None


@pytest.mark.parametrize(
    ("environment", "flags"),
    [
        ({}, None),
        ({"XLA_FLAGS": ""}, None),
        ({"XLA_FLAGS": "--a=1 "}, "XLA_FLAGS=--a=1"),
        ({"LIBTPU_INIT_ARGS": "--b"}, "LIBTPU_INIT_ARGS=--b"),
        ({"LIBTPU_INIT_ARGS": "--b", "XLA_FLAGS": "--a"}, "XLA_FLAGS=--a LIBTPU_INIT_ARGS=--b"),
    ],
)
def test_compiler_flags_come_with_the_variable_they_were_set_in(environment, flags):
    assert machine.compiler_flags(environment) == flags


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023\n", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "580.65.06"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57  Tue\nGCC version: 9.4.0\n", "470.57"),
        ("GCC version: gcc version 9.4.0 (Ubuntu)\n", None),
        ("", None),
    ],
)
def test_driver_version(text, driver):
    assert machine.nvidia_driver(text) == driver


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return tmp_path


def test_commit_of_a_branch(checkout):
    (checkout / ".git/refs/heads").mkdir(parents=True)
    (checkout / ".git/refs/heads/main").write_text(COMMIT + "\n")
    assert machine.git_commit(checkout) == COMMIT


def test_a_loose_reference_is_newer_than_a_packed_one(checkout):
    (checkout / ".git/packed-refs").write_text(
        f"# pack-refs with: peeled\n{OTHER} refs/heads/main\n^{COMMIT}\n"
    )
    assert machine.git_commit(checkout) == OTHER
    (checkout / ".git/refs/heads").mkdir(parents=True)
    (checkout / ".git/refs/heads/main").write_text(COMMIT)
    assert machine.git_commit(checkout) == COMMIT


def test_commit_of_a_detached_head(checkout):
    (checkout / ".git/HEAD").write_text(COMMIT + "\n")
    assert machine.git_commit(checkout) == COMMIT


def test_commit_of_a_worktree_whose_references_are_elsewhere(checkout, tmp_path):
    main, worktree = checkout / ".git", tmp_path / "tree"
    private = main / "worktrees/tree"
    private.mkdir(parents=True)
    worktree.mkdir()
    (worktree / ".git").write_text(f"gitdir: {private}\n")
    (private / "HEAD").write_text("ref: refs/heads/side\n")
    (private / "commondir").write_text("../..\n")
    (main / "packed-refs").write_text(f"{OTHER} refs/heads/side\n")
    assert machine.git_commit(worktree) == OTHER
    (main / "refs/heads").mkdir(parents=True)
    (main / "refs/heads/side").write_text(COMMIT)
    assert machine.git_commit(worktree) == COMMIT


@pytest.mark.parametrize("head", ["", "ref: refs/heads/unborn\n", "nonsense", COMMIT[:12]])
def test_no_commit_where_none_can_be_read(checkout, head):
    (checkout / ".git/HEAD").write_text(head)
    assert machine.git_commit(checkout) is None


def test_no_commit_outside_a_checkout(tmp_path):
    assert machine.git_commit(tmp_path) is None
    assert machine.git_commit(None) is None


def test_a_package_installed_into_another_project_has_no_checkout(monkeypatch, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n')
    monkeypatch.setattr(machine.trainbench, "__file__", str(tmp_path / "trainbench/__init__.py"))
    assert machine._checkout() is None
    (tmp_path / "pyproject.toml").write_text("[broken")
    assert machine._checkout() is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "trainbench"\n')
    assert machine._checkout() == tmp_path


def test_asking_does_not_import_jax():
    program = (
        "import sys; from trainbench.hardware import chips, machine; machine.host(); machine.software();"
        "chips.lookup('TPU v4'); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_bfloat16_units_are_read_from_the_flags():
    assert machine.has_bfloat16_units("flags : fpu avx512_bf16 avx2")
    assert machine.has_bfloat16_units("Features : fp asimd bf16")
    assert not machine.has_bfloat16_units("flags : fpu avx2 avx512f")


def test_the_gpus_are_told_by_their_models(tmp_path):
    for number, model in enumerate(("NVIDIA H100 80GB HBM3", "NVIDIA L4")):
        (tmp_path / "gpus" / f"0000:0{number}:00.0").mkdir(parents=True)
        text = f"Model: \t\t {model}\nIRQ:   \t\t 52\nGPU UUID: \t GPU-1\n"
        (tmp_path / "gpus" / f"0000:0{number}:00.0" / "information").write_text(text)
    assert machine.nvidia_gpus(tmp_path) == "NVIDIA H100 80GB HBM3, NVIDIA L4"
    assert machine.nvidia_gpus(tmp_path / "nowhere") is None
