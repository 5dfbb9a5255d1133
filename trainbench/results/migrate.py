"""Older result files, brought to the present schema one version at a time.

A migration takes the raw content of a file of version N to that of version N + 1. It only adds what the older
program did without saying, or did not know (None); it never changes a measured figure. Damage is not its
business: what has no place to add to is left for the record's own checks to name.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trainbench.results.record import SCHEMA_VERSION

Content = dict[str, Any]


def to_present(content: Content) -> Content:
    """`content`, whose `schema_version` is one of `MIGRATIONS` or the present one, in the present schema.

    >>> to_present({"schema_version": 1, "workload": {}})["workload"]
    {'gradient_accumulation': 1}
    """
    while (version := content["schema_version"]) < SCHEMA_VERSION:
        content = MIGRATIONS[version](content) | {"schema_version": version + 1}
    return content


def _one_micro_batch(content: Content) -> Content:
    """Version 2 tells the accumulation; all else that it added is unknown here, the record's default."""
    workload = content.get("workload")
    if not isinstance(workload, dict):
        return content
    return content | {"workload": {"gradient_accumulation": 1} | workload}


def _nothing_to_add(content: Content) -> Content:
    """What the next version added is unknown here, the record's default."""
    return content


def _one_global_program(content: Content) -> Content:
    """Version 4 tells how devices share the work: before it, as one program over the batch of all of them."""
    hardware, work = content.get("hardware"), content.get("workload")
    if not isinstance(hardware, dict) or not isinstance(work, dict) or hardware.get("device_count", 1) < 2:
        return content
    normalises = str(work.get("model", "")).startswith("resnet")
    norm = "synchronised" if normalises else None
    split = {"data": hardware["device_count"], "fsdp": 1, "tensor": 1, "batch_norm": norm}
    config = content.get("config")
    if norm and isinstance(config, dict):
        content = content | {"config": config | {"batch_norm": norm}}
    return content | {"parallel": split}


# How every step was computed before there were levers, by configuration key.
_PLAIN = {"compiler_flags": "none", "first_moment": "fp32"}
_PLAIN_RESNET = {
    "convolution": "convolution",
    "stem": "convolution",
    "max_pool": "windows",
    "batch_statistics": "one_pass",
}
_PLAIN_TRANSFORMER = {"attention": "xla", "layers": "unrolled"}


def _plain_levers(content: Content) -> Content:
    """Version 5 tells the levers, of which some are no longer plain where they are left open."""
    config = content.get("config")
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict):
        return content
    assert isinstance(config, dict)
    plain: Content = _PLAIN | (_PLAIN_RESNET if model.get("family") == "resnet" else _PLAIN_TRANSFORMER)
    architecture = model.get("architecture")
    if isinstance(architecture, dict) and "vocabulary" in architecture:
        plain |= {"vocabulary_multiple": 1}
    return content | {"config": plain | config}


MIGRATIONS: Final[Mapping[int, Callable[[Content], Content]]] = {
    1: _one_micro_batch,
    2: _nothing_to_add,
    3: _one_global_program,
    4: _plain_levers,
}
