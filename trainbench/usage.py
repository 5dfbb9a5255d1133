"""The help page, made from what is shipped so that it cannot fall behind."""

import textwrap
from collections.abc import Mapping

from trainbench import shipped

SHORT = """\
python -m trainbench [model=NAME] [precision=NAME] [batch_size=N] [KEY=VALUE ...]
       python -m trainbench --help shows all of it"""


KEYS = {
    "batch_size": "samples per device per optimizer step: N | default | auto, the largest that fits | "
    "best, the smallest within 5 % of the best rate",
    "global_batch_size": "samples of all devices per optimizer step, in place of batch_size: N",
    "gradient_accumulation": "micro-batches of a step, one after the other; batch_size counts all: N",
    "parallel.AXIS": "devices along data, fsdp and tensor, the axes of the mesh: N | rest",
    "remat": "what the backward pass computes again to save memory: none | dots | full",
    "batch_norm": "batch statistics: per_replica | synchronised | default",
    "steps": "timed optimizer steps: N | default",
    "warmup": "least warm-up steps: N | default",
    "input": "resident | host | real | all, one after the other | default",
    "data.KEY": "name, dir, split, held_out, decoder, ...: data=NAME --cfg job -p data shows all",
    "steps_per_call": "optimizer steps in one device call: N",
    "image_size": "pixels: N | null, the model's own",
    "sequence_length": "tokens: N | null, the model's own",
    "prng": "random bits of dropout: threefry2x32 | rbg | default",
    "seed": "parameters, data, dropout and shuffling: 0 to 4,294,967,295",
    "reproduce": "id of a published figure, which is then run as it was measured",
    "price_per_hour": "US dollars for one chip and hour; null: as in the table of chips",
    "trace": "record steps with the profiler after the timed ones: true, 5 of them | N | false",
    "distributed.KEY": "several processes: cluster, or coordinator, num_processes and process_id",
    "timeout_s": "seconds without progress that end a run: S | null | default, 300 with several processes",
    "checkpoint.KEY": "every=N steps the state is saved; the same command goes on; dir, keep, timed",
    "framework": "what runs the training step: jax | torch, the same workload in PyTorch",
    "torch.KEY": "with framework=torch: compile, channels_last, attention, threads, fused; each | default",
    "reference.extra": "a CSV file with published figures of your own",
    "hydra.run.dir": "where the result goes: DIR (for a sweep hydra.sweep.dir)",
}

OPTIONS = {
    "-m, --multirun": "a sweep: one process for each combination of KEY=A,B,C; goes on where it was stopped",
    "--cfg job": "print the composed configuration; -p GROUP for a part, --resolve",
    "--config-dir DIR": "more configurations of your own",
    "--info [WHAT]": "how the configuration came about",
    "--version": "print the version",
    "-h, --help": "print this page",
}

EXAMPLES = (
    "python -m trainbench model=resnet50 precision=bf16",
    "python -m trainbench model=bert_large sequence_length=512 precision=fp32",
    "python -m trainbench model=vit_tiny data=digits steps=400",
    "python -m trainbench model=resnet50 data=photos input=all",
    "python -m trainbench prepare data=tfds data.name=food101 data.download=true",
    "python -m trainbench -m batch_size=8,16,32 model=resnet50,vit_b16",
    "python -m trainbench model=resnet50 batch_size=best",
    "python -m trainbench report multirun",
    "python -m trainbench compare results outputs",
    "python -m trainbench rerun outputs/DATE/TIME",
    "python -m trainbench forecast target=v6e-1 model=vit_b16 batch_size=128",
    "python -m trainbench references model=resnet50 accelerator=A100,H100 precision=16-bit",
)

EXIT_CODES = {
    "0": "fine",
    "1": "a failed check or run, or a regression",
    "2": "a mistake in what was asked for",
    "3": "out of memory",
    "130": "interrupted; what was measured is saved",
    "141": "the reader of the output went away",
}


def keys() -> dict[str, str]:
    """Every key, the levers among them, with what it takes."""
    # Imported here: levers import JAX, which most verbs do without.
    from trainbench.levers.registry import LEVERS, RESOLVED

    levers = (LEVERS[key] for key in RESOLVED)
    return KEYS | {lever.key: f"{lever.summary}: {lever.words} | default" for lever in levers}


def page(verbs: Mapping[str, str]) -> str:
    """The whole page; `verbs` gives a line for each verb."""
    groups = {group: " | ".join(shipped.names(group)) for group in shipped.GROUPS}
    return "\n".join(
        [
            "usage: python -m trainbench [VERB] [KEY=VALUE ...] [OPTION ...]",
            *_table("verbs", verbs),
            *_table("groups", groups),
            *_table("keys", keys()),
            *_table("options", OPTIONS),
            *["", "examples:", *(f"  {example}" for example in EXAMPLES)],
            *_table("exit codes", EXIT_CODES),
        ]
    )


def _table(title: str, rows: Mapping[str, str]) -> list[str]:
    lines = ["", f"{title}:"]
    for name, text in rows.items():
        first, *rest = textwrap.wrap(text, width=76)
        lines += [f"  {name:<22}{first}", *(f"{'':<24}{line}" for line in rest)]
    return lines
