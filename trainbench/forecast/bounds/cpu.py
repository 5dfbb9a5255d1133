"""The most that this machine's processor can multiply and add, from what the kernel says of it.

A virtual machine hides the clock, /proc/cpuinfo shows the one of the moment, and what is called the maximum
may be below the turbo. So the clock is believed only of drivers that count the turbo in; else it is the
fastest of any processor sold, which makes the bound looser but not false.
"""

import functools
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from trainbench.forecast.bounds.bound import Bound, Demand, of_rates
from trainbench.hardware import machine

_CPU_INFO = Path("/proc/cpuinfo")
_CLOCKS = Path("/sys/devices/system/cpu")
# Their maximum counts the turbo in: intel_pstate.html and amd-pstate.html under
# https://docs.kernel.org/admin-guide/pm/ (2026-11).
_DRIVERS_WITH_TURBO = ("intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Processor:
    """The cores that this process may use, at most.

    Attributes:
      flop_per_cycle: of one core, by the dtype of products; None where it is not known.
      clock_hz, clock: what no core exceeds, and where that is from.
    """

    cores: int
    flop_per_cycle: Mapping[str, float | None]
    clock_hz: float
    clock: str

    @property
    def rates(self) -> dict[str, float | None]:
        """FLOP/s of all cores by dtype."""
        cycles = self.cores * self.clock_hz
        return {dtype: flop and flop * cycles for dtype, flop in self.flop_per_cycle.items()}

    @property
    def explanation(self) -> str:
        """The rates and what they are made of, in a line."""
        known = {dtype: flop for dtype, flop in self.flop_per_cycle.items() if flop}
        if not known:
            return "how much its cores multiply in a cycle is not known"
        each = " or ".join(f"{flop:g} ({dtype})" for dtype, flop in known.items())
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"{cores} x {each} FLOP a cycle x {self.clock_hz / 1e9:g} GHz, {self.clock}"


def bound(demand: Demand) -> Bound:
    """The bound of a call on this machine's processor; without seconds where its cores are not known."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    text = _CPU_INFO.read_text(encoding="utf-8") if _CPU_INFO.exists() else ""
    found = processor(text, usable, stated_clock_hz(_CLOCKS, usable))
    return of_rates(demand, found.rates, machine.host().memory_bytes, found.explanation)


def processor(cpuinfo: str, usable: Collection[int], stated_hz: float | None) -> Processor:
    """The processor that the text of /proc/cpuinfo describes.

    Args:
      usable: numbers of the logical CPUs that the process may run on.
      stated_hz: the maximum clock as the kernel states it; None where it doesn't, or not reliably.
    """
    cpus = [cpu for cpu in _cpus(cpuinfo) if int(cpu.get("processor", -1)) in usable]
    first = cpus[0] if cpus else {}
    return Processor(_cores(cpus, len(usable)), _flop_per_cycle(first), *_clock(cpus, stated_hz))


def stated_clock_hz(directory: Path, usable: Collection[int]) -> float | None:
    """The highest clock of these CPUs, from sysfs; None unless each states one that counts the turbo in."""
    found = []
    for number in usable:
        files = directory / f"cpu{number}" / "cpufreq"
        try:
            if (files / "scaling_driver").read_text().strip() not in _DRIVERS_WITH_TURBO:
                return None
            found.append(1e3 * int((files / "cpuinfo_max_freq").read_text()))
        except (OSError, ValueError):
            return None
    return max(found, default=None)


def _cpus(cpuinfo: str) -> list[dict[str, str]]:
    """The fields of each logical CPU."""
    blocks = (
        re.findall(r"^([^:\n]+?)\s*:[ \t]*(.*)$", block, re.MULTILINE) for block in cpuinfo.split("\n\n")
    )
    return [fields for block in blocks if "processor" in (fields := dict(block))]


def _cores(cpus: list[dict[str, str]], usable: int) -> int:
    """Cores behind the logical CPUs: two threads share a core; a virtual machine may only say they do."""
    virtual = any("hypervisor" in cpu.get("flags", "").split() for cpu in cpus)
    places = {(cpu.get("physical id"), cpu.get("core id")) for cpu in cpus}
    told = all(None not in place for place in places)
    return len(places) if places and told and not virtual else usable


def _clock(cpus: list[dict[str, str]], stated_hz: float | None) -> tuple[float, str]:
    fastest = 1e9 * float(_table()["fastest_clock_ghz"]["v"])
    running = max((1e6 * float(cpu.get("cpu MHz", 0)) for cpu in cpus), default=0.0)
    if stated_hz is None:
        return fastest, "the fastest clock of any processor sold (this one's is not known)"
    if running > stated_hz:
        return (
            fastest,
            "the fastest clock of any processor sold (this one runs faster than the kernel says it can)",
        )
    return stated_hz, "its fastest clock by the kernel"


def _flop_per_cycle(cpu: Mapping[str, str]) -> dict[str, float | None]:
    """Of one core, for products in each of DTYPES; without units for bfloat16 it computes in float32."""
    flags, features = cpu.get("flags", "").split(), cpu.get("Features", "").split()
    found = _of_x86(flags) if flags else _of_arm(cpu, features)
    single = found.get("float32")
    return {"float32": single, "bfloat16": found.get("bfloat16", single)}


def _of_x86(flags: Collection[str]) -> dict[str, float | None]:
    table = _table()["x86"]
    if any(flag.startswith("amx_") and flag not in table["matrix_units"] for flag in flags):
        return {}
    return {dtype: row["v"] for dtype in DTYPES if (row := _first(table[dtype], flags))}


def _first(rows: list[dict[str, Any]], flags: Collection[str]) -> dict[str, Any] | None:
    fitting = (row for row in rows if all(flag in flags for flag in row["flags"]))
    return next((row for row in fitting if not any(flag in flags for flag in row.get("without", ()))), None)


def _of_arm(cpu: Mapping[str, str], features: Collection[str]) -> dict[str, float | None]:
    part = f"{cpu.get('CPU implementer')}/{cpu.get('CPU part')}"
    known: dict[str, dict[str, Any]] = {row["part"]: row for row in _table()["arm"]}
    stated = known.get(part, {})
    dtypes = [dtype for dtype in DTYPES if dtype in stated and (dtype == "float32" or "bf16" in features)]
    return {dtype: stated[dtype] for dtype in dtypes}


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files("trainbench.forecast.bounds").joinpath("cpus.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))
