"""Programs and builds that no compiler made, for tests."""

import dataclasses

from tests.compiled.programs import SAMPLES
from trainbench.forecast.compiler.build import Build
from trainbench.forecast.compiler.messages import Facts
from trainbench.forecast.compiler.program import Program, ProgramMemory, TooLarge
from trainbench.forecast.targets import find
from trainbench.results import record

VERSIONS = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.52", "xla_flags": None}
GIB = 2**30


def program(needed_bytes=3 * GIB, compile_s=12.5):
    """A program that needs this much of 16 GiB."""
    memory = ProgramMemory(GIB, GIB // 2, needed_bytes - GIB, GIB // 2, needed_bytes)
    return Program("HloModule step\n", memory, 16 * GIB, 0.5, 1e12, 2e10, compile_s, VERSIONS)


def too_large():
    """A program that needs 20 GiB of 16."""
    return TooLarge(20 * GIB, 16 * GIB, "Ran out of memory on HBM", 1.5, VERSIONS)


def facts(batch_size=8, parts=1, entry="entry.json"):
    """Facts of a ResNet-50 for one v6e chip."""
    return Facts(
        workload=record.Workload(
            model="resnet50",
            task="image_classification",
            sample_unit="image",
            parameters=25_557_032,
            batch_size=batch_size,
            global_batch_size=batch_size,
            gradient_accumulation=parts,
            flops_per_sample=2.4e10,
            precision="bf16",
            optimizer="sgd",
            data="synthetic",
        ),
        hardware=record.Hardware(device_kind="TPU v6 lite", device_count=1, process_count=1),
        autos={},
        tokens_per_sample=None,
        state_bytes=200_000_000,
        program_flops=2e11,
        steps_per_call=1,
        trace_s=1.0,
        lower_s=0.5,
        entry=entry,
        cached=False,
    )


def build(outcome, batch_size=8, parts=1):
    """A build for v6e-1."""
    return Build(find("v6e-1"), facts(batch_size, parts), outcome)


def sampled(sample="matmul_v6e", target="v6e-1", batch_size=8, **changes):
    """A build for any target, whose program is one of hlo/."""
    found = find(target)
    known = facts(batch_size)
    hardware = {"device_count": found.devices, "chip_count": found.chips, "chip": found.chip}
    work = {"global_batch_size": batch_size * found.devices, "image_size": 224}
    known = known.model_copy(
        update={
            "hardware": known.hardware.model_copy(update=hardware),
            "workload": known.workload.model_copy(update=work),
            **changes,
        }
    )
    text = (SAMPLES / f"{sample}.txt").read_text(encoding="utf-8")
    return Build(found, known, dataclasses.replace(program(), hlo=text))
