"""Runs to compare: example records at chosen speeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from tests.results import examples
from trainbench.results.collect import Loaded
from trainbench.results.record import Result

STEPS_PER_BLOCK = 10


def changed(result: Result, **fields: Any) -> Result:
    """`result` with top-level fields replaced; a dict changes fields of a section."""
    sections = {name: getattr(result, name) for name in fields}
    replaced = {
        name: old.model_copy(update=fields[name])
        if isinstance(fields[name], dict) and isinstance(old, BaseModel)
        else fields[name]
        for name, old in sections.items()
    }
    kept = {name: getattr(result, name) for name in type(result).model_fields}
    return Result.model_validate(kept | replaced)


def timed(
    step_s: float, *, seed: int, name: str = "", blocks: int = 30, noise: float = 0.002, **fields: Any
) -> Result:
    """An ok measurement of resnet50 whose step takes about `step_s`; `fields` as of `changed`."""
    rng = np.random.default_rng(seed)
    block_s = STEPS_PER_BLOCK * step_s * np.exp(noise * rng.standard_normal(blocks))
    timing = examples.TIMING.model_copy(
        update={"block_s": tuple(block_s), "steps_per_block": STEPS_PER_BLOCK, "drift_fraction": 0.0}
    )
    ok = examples.ok_gpu()
    config = {**ok.config, "steps_per_call": 1}
    base = changed(ok, timing=timing, config=config, id=name or f"run-{seed}-{step_s}")
    return changed(base, **fields)


def loaded(*results: Result) -> tuple[Loaded, ...]:
    """The results as if from files of their ids."""
    return tuple(Loaded(Path(f"{result.id}.json"), result) for result in results)


def written(directory: Path, results: Sequence[Result]) -> Path:
    """The directory, with each result in a file of its own."""
    for result in results:
        file = directory / result.id / "result.json"
        file.parent.mkdir(parents=True)
        file.write_text(result.model_dump_json())
    return directory
